"""The search spaces of a made-up comparison."""

from typing import Any

SPACES: dict[str, dict[str, dict[str, Any]]] = {
    "cnn": {
        "depth": {"kind": "integer", "low": 1, "high": 3, "log": False},
        "width": {"kind": "choices", "choices": [16, 24, 32]},
        "normalisation": {"kind": "choices", "choices": ["batch", "group"]},
        "residual": {"kind": "choices", "choices": [False, True]},
        "pooling": {"kind": "choices", "choices": ["mean", "max", "both"]},
        "dropout": {"kind": "float", "low": 0.0, "high": 0.5, "log": False},
        "optimizer": {"kind": "choices", "choices": ["adamw", "sgd"]},
        "adamw_learning_rate": {"kind": "float", "low": 3e-4, "high": 1e-2, "log": True},
        "weight_decay": {"kind": "float", "low": 1e-5, "high": 1e-1, "log": True},
        "batch_size": {"kind": "choices", "choices": [32, 64, 128]},
        "label_smoothing": {"kind": "float", "low": 0.0, "high": 0.2, "log": False},
        "stain_jitter": {"kind": "float", "low": 0.0, "high": 0.2, "log": False},
    },
    "vgg16": {
        "frozen_blocks": {"kind": "integer", "low": 0, "high": 5, "log": False},
        "input_size": {"kind": "choices", "choices": [50, 64, 96]},
        "head_width": {"kind": "choices", "choices": [0, 128, 512]},
        "dropout": {"kind": "float", "low": 0.0, "high": 0.6, "log": False},
        "backbone_learning_rate": {"kind": "float", "low": 1e-5, "high": 5e-4, "log": True},
        "head_learning_rate": {"kind": "float", "low": 1e-4, "high": 1e-2, "log": True},
        "warmup": {"kind": "float", "low": 0.0, "high": 0.3, "log": False},
    },
}
