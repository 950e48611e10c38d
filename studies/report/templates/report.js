// Draws each figure when it comes near the window, the others when there is nothing else to do, all before printing.
"use strict";
(() => {
  const waiting = new Set(document.querySelectorAll(".plot"));
  const settings = { displayModeBar: false, responsive: true, staticPlot: false };

  function draw(place) {
    if (!waiting.delete(place)) return;
    const { data, layout } = JSON.parse(document.getElementById(place.dataset.figure).textContent);
    if (layout.meta && layout.meta.rows && place.clientWidth < 520) nameRowsAbove(layout);
    Plotly.newPlot(place, data, layout, settings);
    if (waiting.size === 0) document.documentElement.dataset.drawn = "all";
  }
  // On a phone the names of rows would take half the width: they go above their rows, which get higher.
  function nameRowsAbove(layout) {
    const above = layout.yaxis.ticktext.map((text, row) => ({
      x: 0, xref: "paper", xanchor: "left", y: row - 0.4, text, showarrow: false, font: { size: 11 },
    }));
    layout.annotations = [...(layout.annotations || []), ...above];
    layout.height = 70 + 1.8 * (layout.height - 70);
    layout.yaxis.showticklabels = false;
  }
  const drawAll = () => [...waiting].forEach(draw);

  const near = new IntersectionObserver((seen) => {
    for (const one of seen) if (one.isIntersecting) { near.unobserve(one.target); draw(one.target); }
  }, { rootMargin: "600px" });
  waiting.forEach((place) => near.observe(place));

  const idle = window.requestIdleCallback || ((work) => setTimeout(work, 30));
  function next() {
    const [place] = waiting;
    if (place) { draw(place); idle(next); }
  }
  addEventListener("load", () => idle(next));

  const fit = (width) => document.querySelectorAll(".plot.js-plotly-plot").forEach((place) => {
    const own = width ? Math.min(width, place.parentElement.classList.contains("many") ? 215 : width) : null;
    Plotly.relayout(place, own ? { width: own, autosize: false } : { width: null, autosize: true });
  });
  addEventListener("beforeprint", () => { drawAll(); fit(680); });
  addEventListener("afterprint", () => fit(null));
})();
