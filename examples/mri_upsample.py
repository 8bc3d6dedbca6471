#!/usr/bin/env python3
"""Doubles the resolution of a brain scan and finds its edges with convjit.

usage: mri_upsample.py CONVJIT [--out DIRECTORY] [--step N]

1. Reads the MNI ICBM152 T1 template (1 mm voxels), a file in nilearn's package.
2. Doubles its resolution. Trilinear interpolation by 2 *is* a transposed
   convolution with k = 4, s = 2 and the weight [1,3,3,1]/4 along each axis: an
   output voxel lies a quarter of an input voxel from its nearest neighbour, so
   it takes 3/4 of that and 1/4 of the next.
3. Finds the gradient with one plain 3-D convolution: three output channels, a
   Sobel kernel for each direction.
4. Draws slices of each.

Borders. The layer pads with zeros, and with pad=same the outermost output voxels
would take 1/4 of that zero: a dark frame, and here the template does touch the
edge below the brain. So the input is extended by one voxel that repeats the edge,
and pad=0 crops what the extension adds: (n + 2 - 1)*2 + 2 - 4 = 2n voxels, the
ones wanted. The answer is then exact half-pixel-centre interpolation with clamped
edges, up to the border. The gradient is treated likewise, with pad=valid.

Both answers are checked against NumPy, written in other ways than a convolution:
a gather of two neighbours by real-valued position along each axis, and differences
of slices.
"""

import argparse
import importlib.util
import pathlib
import subprocess
import sys
import tempfile
import time

import nibabel
import numpy as np

# Float rounding is about 1e-7 of the range per operation; an interpolation that is
# off by one voxel or wrong at the border errs by 1e-2 and more.
TOLERANCE = 1e-5
TEMPLATE = "datasets/data/mni_icbm152_t1_tal_nlin_sym_09a_converted.nii.gz"


class Step:
    """Prints what is done and how long it took."""

    def __init__(self, what):
        self.what = what

    def __enter__(self):
        self.start = time.perf_counter()
        return self

    def __exit__(self, *_):
        print(f"{time.perf_counter() - self.start:7.2f} s  {self.what}", flush=True)


def read_template():
    # Found without importing nilearn, which would import scikit-learn and more.
    package = importlib.util.find_spec("nilearn")
    if package is None:
        sys.exit("mri_upsample.py: no nilearn here; scripts/example installs it")
    image = nibabel.load(pathlib.Path(package.origin).parent / TEMPLATE)
    return (np.asarray(image.dataobj).astype(np.float32),
            [float(size) for size in image.header.get_zooms()])


def run_layer(convjit, problem, volume, weight):
    """One layer on a batch of one, through .npy files as a user would."""
    with tempfile.TemporaryDirectory() as directory:
        paths = {name: f"{directory}/{name}.npy" for name in ("input", "weight", "output")}
        np.save(paths["input"], volume)
        np.save(paths["weight"], weight)
        command = [convjit, "run", problem]
        for name, path in paths.items():
            command += [f"--{name}", path]
        status = subprocess.run(command).returncode
        if status != 0:
            sys.exit(f"mri_upsample.py: exit {status} from {' '.join(command)}")
        return np.load(paths["output"])


def outer(a, b, c):
    return np.einsum("i,j,k->ijk", a, b, c).astype(np.float32)


def extend(volume):
    return np.pad(volume, 1, mode="edge")


def size_of(volume):
    return "x".join(map(str, volume.shape))


def upsample(convjit, volume):
    extended = extend(volume)
    problem = f"convT3d:in={size_of(extended)}x1,oc=1,k=4,s=2,pad=0"
    print(f"           {problem}")
    line = np.array([1, 3, 3, 1]) / 4
    weight = outer(line, line, line)[..., None, None]  # (k, k, k, oc, ic)
    return run_layer(convjit, problem, extended[..., None], weight)[..., 0]


def interpolate(volume):
    """The same by real-valued positions: output voxel o has its centre at
    (o + 1/2)/2 - 1/2 on the input's grid."""
    for axis, size in enumerate(volume.shape):
        position = (np.arange(2 * size) + 0.5) / 2 - 0.5
        below = np.floor(position).astype(int)
        shape = [-1 if a == axis else 1 for a in range(3)]
        fraction = (position - below).reshape(shape)
        left = np.take(volume, np.clip(below, 0, size - 1), axis=axis)
        right = np.take(volume, np.clip(below + 1, 0, size - 1), axis=axis)
        volume = left + fraction * (right - left)
    return volume


def sobel_gradient(convjit, volume, voxel):
    extended = extend(volume)
    problem = f"conv3d:in={size_of(extended)}x1,oc=3,k=3,pad=valid"
    print(f"           {problem}")
    smooth = np.array([1, 2, 1]) / 4
    weight = np.empty((3, 3, 3, 1, 3), np.float32)  # (k, k, k, ic, oc)
    for axis in range(3):
        lines = [smooth] * 3
        lines[axis] = np.array([-1, 0, 1]) / (2 * voxel[axis])
        weight[..., 0, axis] = outer(*lines)
    return run_layer(convjit, problem, extended[..., None], weight)


def differences(volume, axis, voxel):
    """One direction of the gradient from slices of the whole volume."""
    def cut(array, along, start):
        index = [slice(None)] * 3
        index[along] = slice(start, start + array.shape[along] - 2)
        return array[tuple(index)]

    result = extend(volume).astype(np.float64)
    for along in range(3):
        before, here, after = (cut(result, along, start) for start in range(3))
        if along == axis:
            result = (after - before) / (2 * voxel[axis])
        else:
            result = (before + 2 * here + after) / 4
    return result


def check(what, got, expected, reach):
    if got.shape != expected.shape:
        sys.exit(f"mri_upsample.py: {what}: shape {got.shape}, expected {expected.shape}")
    worst = float(np.max(np.abs(got - expected)))
    print(f"           {what}: max |difference| {worst:.3g} = {worst / reach:.2g} of the range")
    if not worst < TOLERANCE * reach:  # also refuses NaN
        sys.exit(f"mri_upsample.py: {what}: off by {worst / reach:.3g} of the range, "
                 f"at most {TOLERANCE:g} is rounding")


def draw(path, before, after, magnitude):
    import matplotlib
    matplotlib.use("Agg")
    from matplotlib import pyplot

    # Middle slices, and a detail where single voxels can be seen.
    columns = [(before, 1, "before", "gray"), (after, 2, "after", "gray"),
               (magnitude, 2, "gradient magnitude", "magma")]
    figure, axes = pyplot.subplots(3, 3, figsize=(12, 13), layout="constrained")
    for column, (volume, scale, title, colours) in enumerate(columns):
        x, y, z = (size // 2 for size in volume.shape)
        side = min(before.shape) // 5 * scale
        pictures = [volume[:, :, z], volume[x], volume[x - side:x + side, y - side:y + side, z]]
        limit = float(np.percentile(volume[::4, ::4, ::4], 99.8))
        for line, picture in enumerate(pictures):
            axes[line, column].imshow(picture.T, origin="lower", cmap=colours, vmin=0,
                                      vmax=limit, interpolation="nearest")
            axes[line, column].set_axis_off()
        axes[0, column].set_title(f"{title}, {size_of(volume)}")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=100)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__.partition("\n\n")[0],
        epilog="example: mri_upsample.py build/release/bin/convjit --out build/example")
    parser.add_argument("convjit", help="the convjit binary")
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("build/example"),
                        help="where mri.png goes (default: %(default)s)")
    parser.add_argument("--step", type=int, default=1,
                        help="take every N-th voxel, for a quick run (default: all)")
    options = parser.parse_args()
    if options.step < 1:
        parser.error(f"--step {options.step}: expected 1 or more")

    with Step("read the ICBM152 T1 template"):
        before, voxel = read_template()
        before = np.ascontiguousarray(before[(slice(None, None, options.step),) * 3])
    voxel = [size * options.step for size in voxel]
    reach = float(np.ptp(before))
    print(f"           {size_of(before)} voxels of {voxel[0]:g} mm, values 0 to {reach:g}")

    with Step("doubled its resolution"):
        after = upsample(options.convjit, before)
    with Step("checked against interpolation by position"):
        check("interpolation", after, interpolate(before.astype(np.float64)), reach)

    voxel = [size / 2 for size in voxel]
    with Step("found its gradient"):
        gradient = sobel_gradient(options.convjit, after, voxel)
    with Step("checked against differences of slices"):
        # The largest gradient that values in this range can have.
        for axis, name in enumerate("xyz"):
            check(f"gradient along {name}", gradient[..., axis],
                  differences(after, axis, voxel), reach / (2 * voxel[axis]))
    with Step("took the magnitude and drew slices"):
        picture = options.out / "mri.png"
        draw(picture, before, after, np.sqrt(np.einsum("...c,...c->...", gradient, gradient)))
    print(f"           {picture}")


if __name__ == "__main__":
    main()
