(() => {
  const place = document.getElementById("viewer"), { slides, threshold, widest } = JSON.parse(document.getElementById("slides-data").textContent);
  const by = (name) => document.getElementById(`viewer-${name}`), stage = by("stage"), sheet = stage.querySelector(".sheet");
  const [tissue, over, outline] = ["tissue", "over", "outline"].map((name) => sheet.querySelector(`.${name}`));
  const cursor = sheet.querySelector(".cursor"), dialog = place.closest("dialog");
  const radios = [...place.querySelectorAll("input[name=layer]")], strength = by("strength"), lines = by("outline");
  by("threshold").textContent = threshold.toFixed(3);
  by("widest").textContent = widest.toFixed(2);
  let slide, at, here = -1, layer = "probability", size = 1;

  function show(number) {
    const thumbnail = (name) => document.querySelector(`[data-slide="${number}"] .${name}`)?.src;
    slide = slides[number];
    slide.tissue = thumbnail("tissue");
    slide.layers.probability = thumbnail("over");
    at = new Map(slide.rows.map((row, k) => [row * slide.width + slide.columns[k], k]));
    here = -1; size = 1;
    by("name").textContent = `Slide ${slide.name}`;
    by("remark").textContent = slide.remark;
    by("remark").hidden = !slide.remark;
    const { labels } = slide, count = (sign) => [...labels].filter((one) => one === sign).length;
    const idc = count("1"), known = idc + count("0");
    by("said").textContent = `${labels.length.toLocaleString("en")} patches${known ? `, ${idc.toLocaleString("en")} labelled IDC` : ", labels unknown"}.`;
    cursor.hidden = true;
    for (const button of document.querySelectorAll("[data-slide]")) {
      if (Number(button.dataset.slide) === number) button.setAttribute("aria-current", "true");
      else button.removeAttribute("aria-current");
    }
    for (const radio of radios) {
      const there = radio.value === "tissue" ? slide.tissue : slide.layers[radio.value];
      radio.disabled = !there;
      radio.parentElement.hidden = !there;
    }
    lines.disabled = !slide.layers.outline;
    lines.parentElement.hidden = !slide.layers.outline;
    if (radios.find((radio) => radio.value === layer).disabled) layer = "probability";
    set(tissue, slide.tissue); set(outline, slide.layers.outline);
    paint();
    if (dialog && !dialog.open) dialog.showModal();
    resize();
  }
  function set(image, source) {
    image.hidden = !source;
    if (source) image.src = source; else image.removeAttribute("src");
  }
  function paint() {
    for (const radio of radios) radio.checked = radio.value === layer;
    set(over, layer === "tissue" ? null : slide.layers[layer]);
    const strong = strength.value / 100;
    over.style.opacity = slide.tissue ? (layer === "errors" ? (1 + strong) / 2 : strong) : 1;  // signs are to be read
    outline.hidden = !lines.checked || !slide.layers.outline;
    sheet.classList.toggle("plain", layer === "tissue");
    for (const key of place.querySelectorAll("[data-key]")) key.hidden = key.dataset.key !== layer;
  }
  function resize() {
    const room = stage.clientWidth, tall = 0.76 * innerHeight * (dialog ? 0.76 : 1);
    const fit = Math.min(room, (tall * slide.width) / slide.height, 40 * slide.width);
    sheet.style.width = `${Math.max(1, Math.round(fit * size))}px`;
    sheet.style.aspectRatio = `${slide.width} / ${slide.height}`;
    if (here >= 0) point(here, true);
  }
  function say(k) {
    const number = (thousandths) => (thousandths / 1000).toFixed(3), label = slide.labels[k];
    const said = [`Probability ${number(slide.probabilities[k])}, called ${slide.called[k] === "1" ? "IDC" : "not IDC"}`];
    if (slide.spreads) said.push(`member spread ${number(slide.spreads[k])}`);
    said.push(label === "?" ? "label unknown" : `labelled ${label === "1" ? "IDC" : "not IDC"}`);
    if (label !== "?" && label !== slide.called[k]) said.push(label === "1" ? "missed" : "false alarm");
    said.push(`row ${slide.rows[k] + 1}, column ${slide.columns[k] + 1}`);
    return said.join("; ") + (slide.files ? `; ${slide.common}${slide.files[k]}` : "");
  }
  function point(k, follow) {
    here = k;
    cursor.hidden = false;
    Object.assign(cursor.style, {
      left: `${(100 * slide.columns[k]) / slide.width}%`, top: `${(100 * slide.rows[k]) / slide.height}%`,
      width: `${100 / slide.width}%`, height: `${100 / slide.height}%`,
    });
    by("said").textContent = say(k);
    if (!follow) return;
    const [wide, high] = [sheet.clientWidth / slide.width, sheet.clientHeight / slide.height];
    const [x, y] = [sheet.offsetLeft - stage.offsetLeft + wide * slide.columns[k], sheet.offsetTop - stage.offsetTop + high * slide.rows[k]];
    if (x < stage.scrollLeft || x + wide > stage.scrollLeft + stage.clientWidth) stage.scrollLeft = x - stage.clientWidth / 2;
    if (y < stage.scrollTop || y + high > stage.scrollTop + stage.clientHeight) stage.scrollTop = y - stage.clientHeight / 2;
  }
  function under(event) {
    const box = sheet.getBoundingClientRect();
    const column = Math.floor(((event.clientX - box.left) / box.width) * slide.width);
    const row = Math.floor(((event.clientY - box.top) / box.height) * slide.height);
    return column < 0 || column >= slide.width ? undefined : at.get(row * slide.width + column);
  }
  // The nearest patch in that direction; those that lie aside count as farther away.
  function next(down, right) {
    let found = -1, nearest = Infinity;
    for (let k = 0; k < slide.rows.length; k++) {
      const [y, x] = [slide.rows[k] - slide.rows[here], slide.columns[k] - slide.columns[here]];
      const ahead = y * down + x * right, aside = Math.abs(y * right) + Math.abs(x * down);
      if (ahead > 0 && ahead + 3 * aside < nearest) { nearest = ahead + 3 * aside; found = k; }
    }
    return found;
  }
  const arrows = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };
  const grow = (by) => { size = by === 0 ? 1 : Math.min(16, Math.max(1, size * 2 ** by)); resize(); };
  stage.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "+" || event.key === "-") grow(event.key === "+" ? 1 : -1);
    else if (event.key in arrows) {
      const k = here < 0 ? 0 : next(...arrows[event.key]);
      if (k >= 0) point(k, true);
    } else return;
    event.preventDefault();
  });
  for (const kind of ["pointermove", "pointerdown"]) {
    stage.addEventListener(kind, (event) => { const k = under(event); if (k !== undefined) point(k, false); });
  }
  for (const radio of radios) radio.addEventListener("change", () => { layer = radio.value; paint(); });
  strength.addEventListener("input", paint);
  lines.addEventListener("change", paint);
  for (const button of place.querySelectorAll("[data-size]")) button.addEventListener("click", () => grow(Number(button.dataset.size)));
  for (const button of document.querySelectorAll("[data-slide]")) {
    button.addEventListener("click", () => {
      show(Number(button.dataset.slide));
      if (!dialog) place.scrollIntoView({ block: "start" });
    });
  }
  addEventListener("resize", () => { if (slide && (!dialog || dialog.open)) resize(); });
  if (dialog) dialog.querySelector(".close").addEventListener("click", () => dialog.close());
  else show(0);
})();
