#!/usr/bin/env python3
"""Finds the brain in a scan of a head: a trained 3-D U-Net in JAX, on XLA's kernels
and on convjit's.

usage: brain_mri.py [--image FILE] [--out DIRECTORY] [--size N] [--runs N]

1. Takes the weights of deepbrain 0.1 (Ivan Itzcovich, MIT), constants of a
   TensorFlow graph in that package: ten conv3d, three conv3d_transpose with k = 3
   and s = 2, 8 to 64 channels. TensorFlow is not needed; the file is read here.
2. Brings the MNI ICBM152 T1 volume, a file in nilearn's package, to 128^3 voxels as
   deepbrain does. Its skull is removed already; the network has learnt from whole
   heads, and takes the outer part of this brain for more to remove. So the mask is
   no good segmentation, with XLA's kernels or ours: what is shown is that they
   give the same one, and when. --image takes a scan of a whole head instead (any
   format that nibabel reads), and brings the probabilities back to its voxels.
3. Computes each voxel's probability of being brain, in plain JAX, then after
   `convjit.jax.install()`: the same function, compiled anew.
4. Compares: probabilities agree within 1e-4 everywhere; voxels on which the masks
   differ are counted. Exits with 1 otherwise.
5. Draws the mask over slices of the scan; with --image, writes it beside the
   picture as brain.nii.gz, in the scan's own voxels and space.
"""

import argparse
import functools
import importlib.util
import os
import pathlib
import statistics
import sys
import time

os.environ.setdefault("JAX_PLATFORMS", "cpu")

import jax
import jax.numpy as jnp
import nibabel
import numpy as np
import scipy.ndimage
from jax import lax

import convjit.jax

TOLERANCE = 1e-4
TEMPLATE = "nilearn", "datasets/data/mni_icbm152_t1_tal_nlin_sym_09a_converted.nii.gz"
GRAPH = "deepbrain", "models/graph.pb"
AXES = "NDHWC", "DHWIO", "NDHWC"


def file_of(package, path):
    """A file of an installed package, which is not imported."""
    found = importlib.util.find_spec(package)
    if found is None:
        sys.exit(f"brain_mri.py: no {package} here; scripts/example brain installs it")
    return pathlib.Path(found.origin).parent / path


def fields(message):
    """(number, value) of a Protocol Buffers message: integers, or bytes."""
    at = 0

    def varint():
        nonlocal at
        value = shift = 0
        while True:
            byte = message[at]
            at += 1
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value

    while at < len(message):
        number, wire = divmod(varint(), 8)
        if wire == 0:
            yield number, varint()
            continue
        size = {1: 8, 5: 4}.get(wire)
        if size is None:
            size = varint()
        yield number, message[at:at + size]
        at += size


def field(message, number, default=b""):
    return next((value for found, value in fields(message) if found == number), default)


def read_constants(graph):
    """{name: array} of a GraphDef's float constants."""
    constants = {}
    for number, node in fields(graph):
        if number != 1 or field(node, 2) != b"Const":
            continue
        attributes = (entry for found, entry in fields(node) if found == 5)
        tensor = next(field(field(entry, 2), 8) for entry in attributes
                      if field(entry, 1) == b"value")
        if field(tensor, 1) != 1:  # DT_FLOAT
            continue
        shape = [field(size, 1, 0) for found, size in fields(field(tensor, 2)) if found == 2]
        # As bytes, or a lone value as a field of its own.
        data = np.frombuffer(field(tensor, 4) or field(tensor, 5), np.float32)
        constants[field(node, 1).decode()] = data.reshape(shape)
    return constants


def probability(constants, x):
    """The network without its dropout; x is (batch, n, n, n, 1), n divisible by 8."""

    def conv(x, number, activation=jax.nn.relu):
        name = f"conv3d_{number}" if number else "conv3d"
        y = lax.conv_general_dilated(x, constants[f"{name}/kernel"], (1, 1, 1), "SAME",
                                     dimension_numbers=AXES)
        return activation(y + constants[f"{name}/bias"])

    def up(x, number, skip):
        name = f"conv3d_transpose_{number}" if number else "conv3d_transpose"
        # The weight is (k, k, k, out, in), and applied flipped.
        y = lax.conv_transpose(x, constants[f"{name}/kernel"], (2, 2, 2), "SAME",
                               dimension_numbers=AXES, transpose_kernel=True)
        return jnp.concatenate([y, skip], axis=-1)

    pool = lambda x: lax.reduce_window(x, -jnp.inf, lax.max, (1, 2, 2, 2, 1),
                                       (1, 2, 2, 2, 1), "VALID")
    full = conv(conv(x, 0), 1)
    half = conv(conv(pool(full), 2), 3)
    quarter = conv(conv(pool(half), 4), 5)
    x = conv(up(pool(quarter), 0, quarter), 6)
    x = conv(up(x, 1, half), 7)
    x = conv(up(x, 2, full), 8)
    return conv(x, 9, jax.nn.sigmoid)


def resize(volume, size):
    """As skimage.transform.resize does with anti_aliasing and mode="constant"."""
    factors = [n / size for n in volume.shape]
    smooth = scipy.ndimage.gaussian_filter(
        volume, [max(0, (f - 1) / 2) for f in factors], mode="constant")
    return scipy.ndimage.zoom(smooth, [1 / f for f in factors], order=1,
                              mode="grid-constant", grid_mode=True)


def read_scan(path):
    """(nibabel's image, its volume with values up to 1)."""
    try:
        image = nibabel.load(path)
    except (OSError, nibabel.filebasedimages.ImageFileError) as error:
        sys.exit(f"brain_mri.py: --image {path}: {error}")
    volume = np.asarray(image.dataobj).astype(np.float32)
    # A series of one volume is one.
    while volume.ndim > 3 and volume.shape[-1] == 1:
        volume = volume[..., 0]
    if volume.ndim != 3 or not np.isfinite(volume).all() or not volume.max() > 0:
        sys.exit(f"brain_mri.py: --image {path}: shape {volume.shape}, values up to"
                 f" {volume.max():g}; valid: one volume of finite values, some above zero")
    return image, volume


def write_mask(path, image, probability):
    """The mask in the scan's voxels, as deepbrain gives it."""
    shape = image.shape[:3]
    factors = [n / m for n, m in zip(shape, probability.shape)]
    whole = scipy.ndimage.zoom(probability, factors, order=1, mode="grid-constant",
                               grid_mode=True)
    mask = (whole > 0.5).astype(np.uint8)
    nibabel.save(nibabel.Nifti1Image(mask, image.affine), path)
    size = float(abs(np.linalg.det(image.affine[:3, :3]))) / 1e6
    print(f"{path}: {'x'.join(map(str, shape))}, {mask.sum() * size:.3f} l of brain")


def timed(step, volume, runs):
    """The result, the median time of a call, and the first call's."""
    times = []
    for _ in range(runs + 1):
        start = time.perf_counter()
        result = jax.block_until_ready(step(volume))
        times.append(time.perf_counter() - start)
    return np.asarray(result), statistics.median(times[1:]), times[0]


def draw(path, volume, brain):
    import matplotlib
    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, 3, figsize=(9, 3.1), layout="constrained")
    for axis, title in enumerate(("sagittal", "coronal", "axial")):
        scan, mask = (np.take(v, v.shape[axis] // 2, axis).T for v in (volume, brain))
        axes[axis].imshow(scan, cmap="gray", origin="lower")
        axes[axis].imshow(np.ma.masked_equal(mask, 0), cmap="autumn", alpha=0.35,
                          origin="lower", interpolation="nearest")
        if mask.any():
            axes[axis].contour(mask, [0.5], colors="red", linewidths=0.8)
        axes[axis].set_title(title)
        axes[axis].set_axis_off()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=80)


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n\n")[0])
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("build/example"),
                        help="where brain.png goes (default: %(default)s)")
    parser.add_argument("--image", type=pathlib.Path,
                        help="a scan of a head (default: nilearn's template)")
    parser.add_argument("--size", type=int, default=128,
                        help="voxels along each axis, divisible by 8 (default: %(default)s)")
    parser.add_argument("--runs", type=int, default=3,
                        help="timed runs of each (default: %(default)s)")
    options = parser.parse_args()
    if options.size < 8 or options.size % 8:
        parser.error(f"--size {options.size}: expected a multiple of 8")
    if options.runs < 1:
        parser.error(f"--runs {options.runs}: expected 1 or more")

    constants = read_constants(file_of(*GRAPH).read_bytes())
    weights = {name: jnp.asarray(value) for name, value in constants.items()
               if name.startswith("conv3d")}
    image, volume = read_scan(options.image or file_of(*TEMPLATE))
    volume = resize(volume, options.size)
    volume /= volume.max()
    x = jnp.asarray(volume[None, ..., None])
    step = jax.jit(functools.partial(probability, weights))
    print(f"{sum(v.size for v in weights.values())} weights; "
          f"{'x'.join(map(str, volume.shape))} voxels; "
          f"{len(os.sched_getaffinity(0))} cores", flush=True)

    expected, slow, first = timed(step, x, options.runs)
    print(f"XLA      {slow:7.3f} s a volume (first call, with compilation, {first:.2f} s)",
          flush=True)
    convjit.jax.install()
    found, fast, first = timed(step, x, options.runs)
    print(f"convjit  {fast:7.3f} s a volume (first call, with compilation, {first:.2f} s),"
          f" {slow / fast:.1f} x faster", flush=True)
    left = [entry for entry in convjit.jax.report() if not entry.taken]
    if left:
        sys.exit(f"brain_mri.py: left to XLA: {left}")

    worst = float(np.max(np.abs(found - expected)))
    differing = int(np.sum((found > 0.5) != (expected > 0.5)))
    brain = found[0, ..., 0] > 0.5
    print(f"largest difference of a probability {worst:.2g}; masks differ in {differing}"
          f" of {brain.size} voxels; {np.mean(brain):.1%} of the volume is brain")
    draw(options.out / "brain.png", volume, brain)
    print(options.out / "brain.png")
    if options.image:
        write_mask(options.out / "brain.nii.gz", image, found[0, ..., 0])
    if not worst < TOLERANCE:  # also refuses NaN
        sys.exit(f"brain_mri.py: probabilities differ by {worst:.3g}, valid: below {TOLERANCE:g}")


if __name__ == "__main__":
    main()
