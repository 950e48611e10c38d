"""Final models that no search made: networks as they begin, whose logits lie apart all the same."""

from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import nn

from data_utils.colour.preprocessing import fit
from data_utils.readers.patches import read_patches
from models._registry import load_model
from search.final.members import StoredModel

PIXELS = np.array(read_patches("synthetic:60").pixels[:6])


def stored(folder: Path, name: str, changed: Mapping[str, object], *, preprocess: str = "none") -> StoredModel:
    """Two members of a model, as far from their first weights as training takes them."""
    model = load_model(name)
    params = {**model.default, **changed}
    written = []
    for number in range(2):
        torch.manual_seed(0)  # layers that members share are the same
        network = model.build(model.configuration(params), None)
        torch.manual_seed(number)
        for layer in network.modules():
            if isinstance(layer, nn.BatchNorm2d):
                nn.init.uniform_(layer.running_var, 0.5, 2.0)
                nn.init.normal_(layer.running_mean)
        _spread(network)
        path = folder / f"member_{number}.safetensors"
        save_file(network.state_dict(), path)
        written.append((path.name, sha256(path.read_bytes()).hexdigest()))
    preprocessing = fit(preprocess, PIXELS, np.arange(len(PIXELS)))
    return StoredModel("s", name, params, tuple(written), 1.7, 0.4, "fp32", "random", "p", preprocessing)


def _spread(network: nn.Module) -> None:
    """Logits of the patches that lie apart: about 0, with a standard deviation of 2."""
    last = [layer for layer in network.modules() if isinstance(layer, nn.Linear)][-1]
    nn.init.normal_(last.weight)
    images = torch.from_numpy(PIXELS).permute(0, 3, 1, 2) / 255
    with torch.no_grad():
        last.weight *= 2 / network.eval()(images).std()
        last.bias -= network(images).mean()
