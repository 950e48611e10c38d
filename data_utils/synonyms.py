"""What users of other programs type, and what it is called here: for "did you mean", where letters do not tell.

Without the dashes of a flag. The first of the words behind a colon that is known where it was typed is meant.
"""

_MEANT = """
arch, architecture, network, net, classifier, models: model
batch, batch-size, bs, lr, learning-rate, dropout, width, depth, weight-decay, optimizer, optimiser, freeze, param: set
bind, ip, address, listen: host
check-integrity, verify, fsck: check
cpus, cores, num-cpus, threads: cpus-per-worker
database, db, db-url, url, backend: storage
dataset, data-dir, data-path, input, images, patches, path, x: data
experiment, project, name, study-name, experiment-name: study
force, assume-yes, y: yes
gpu, gpus, cuda, cpu, use-gpu, accelerator: cuda device
interval, refresh, follow, live: watch
iterations, iters, n-iter, n-trials, num-trials, num-samples, max-trials, evals, max-evals, budget: trials
jobs, n-jobs, num-workers, parallel, processes, concurrency: workers
max-epochs, n-epochs, num-epochs, steps: epochs
max-time, time-limit, time-budget, duration: timeout
metric, score, scoring, maximize, maximise, loss: objective
no-run, simulate, preview, plan: dry-run
normalise, normalize, normalisation, normalization, stain, stain-normalization, transform: preprocess
output, outdir, out, output-dir, results, results-dir, save, logdir, dir, folder, workdir: out runs
pretrained, weights, checkpoint, imagenet: vgg16-weights
random-state, random-seed, rng: seed
ray, cluster, head: ray-address
scheduler, early-stopping, stopper: pruner
search, search-alg, algorithm, algo, strategy, suggest: sampler
skip, ignore, filter, drop: exclude
splits, split-list, folds, cv: split-file
test-size, val-size, val-split, ratio, fractions: split
verbose, verbosity, debug, quiet, v, q: log-level

accuracy, acc, bacc: balanced_accuracy
ap, auprc, pr-auc, map: average_precision
roc, roc-auc, auroc: auc
asha, halving, successive-halving: sha
bayes, bayesian, tree: tpe
gauss, gaussian, gaussian-process, botorch: gp
grid: random
off, no, false, never, disabled: none
fp16, half, amp, mixed, bfloat16, 16: bf16
full, float, float32, single, 32: fp32
standardize, standardise, zscore, mean-std: standardise
vahadane, color, colour: macenko reinhard
vgg, vgg-16, transfer: vgg16

train, run, start, search, optimize, optimise, tune, fit: launch
evaluate, eval, test, final, finish, retrain: finalize
eda, inspect, analyse, analyze, describe: explore
html, page, write: report
ls, list, show, info, ps: status
apply, infer, inference, score: predict
map, slide, slides, wsi, overlay: heatmap
ui, gui, serve, web: dashboard
gc, prune, purge, remove, rm: clean
complete, autocomplete: completion
"""
"""Flags, then values, then commands."""


def _table() -> dict[str, tuple[str, ...]]:
    meant: dict[str, tuple[str, ...]] = {}
    for line in filter(None, _MEANT.splitlines()):
        typed, _, ours = line.partition(": ")
        for word in typed.split(", "):
            meant[word] = (*meant.get(word, ()), *ours.split())
    return meant


MEANT = _table()
"""What is typed -> what may be meant."""
