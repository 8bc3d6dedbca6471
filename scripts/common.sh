# shellcheck shell=bash
# Functions shared by the scripts of this directory; sourced, not run.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
jobs=$(nproc 2>/dev/null || echo 2)
export root jobs

# Progress goes to standard error: standard output is for results.
say() { printf '== %s\n' "$*" >&2; }
# die STATUS MESSAGE
die() {
  printf '%s: %s\n' "$(basename "$0")" "$2" >&2
  exit "$1"
}

# Prints the prefix of an LLVM 22 that has MLIR's CMake files, or fails. Looks
# where a user would have said so first: LLVM_DIR and MLIR_DIR (as CMake reads
# them), then llvm-config-22, then the usual places.
find_llvm() {
  local prefix prefixes=()
  if [[ -n ${MLIR_DIR:-} ]]; then prefixes+=("${MLIR_DIR%/lib/cmake/mlir*}"); fi
  if [[ -n ${LLVM_DIR:-} ]]; then prefixes+=("${LLVM_DIR%/lib/cmake/llvm*}"); fi
  if command -v llvm-config-22 >/dev/null; then
    prefixes+=("$(llvm-config-22 --prefix)")
  fi
  prefixes+=(/usr/lib/llvm-22 /usr/local)
  for prefix in "${prefixes[@]}"; do
    if [[ -f $prefix/lib/cmake/mlir/MLIRConfig.cmake ]] &&
      grep -qs 'LLVM_VERSION_MAJOR 22)' \
        "$prefix/lib/cmake/llvm/LLVMConfig.cmake"; then
      printf '%s\n' "$prefix"
      return 0
    fi
  done
  return 1
}

# For ccache, where it is: files compiled in one build directory are found again
# from another. Fails where there is none.
use_ccache() {
  command -v ccache >/dev/null || return
  if [[ -z $(ccache --get-config base_dir) ]]; then export CCACHE_BASEDIR=$root; fi
  export CCACHE_NOHASHDIR=1
}

# configure_and_build PRESET [CMake option...]: into build/PRESET. Builds
# everything, or the target that `build_target` names.
configure_and_build() {
  local preset=$1 options=("${@:2}") llvm
  if llvm=$(find_llvm); then
    options+=("-DLLVM_DIR=$llvm/lib/cmake/llvm" "-DMLIR_DIR=$llvm/lib/cmake/mlir")
  fi
  if use_ccache; then
    options+=(-DCMAKE_C_COMPILER_LAUNCHER=ccache -DCMAKE_CXX_COMPILER_LAUNCHER=ccache)
  fi
  say "configure $preset"
  (cd "$root" && cmake --preset "$preset" --log-level=WARNING \
    --no-warn-unused-cli "${options[@]}") >&2
  say "build $preset"
  cmake --build "$root/build/$preset" -j "$jobs" --target "${build_target:-all}" >&2
}

# Installs `scripts/requirements-NAME.txt` into build/venv for every NAME, and
# only when that file or the interpreter changed since.
ensure_venv() {
  local venv=$root/build/venv python=${PYTHON:-python3} name file stamp hash
  local pip_options
  if [[ ! -x $venv/bin/python ]]; then
    # An interpreter without ensurepip (Debian's without python3-venv) makes a
    # venv without pip: say so here, not in the middle of an installation.
    "$python" -c 'import ensurepip, sys; sys.exit(sys.version_info < (3, 11))' ||
      die 3 "$python: needs Python >= 3.11 with venv; set PYTHON to another"
    say "create build/venv with $("$python" --version)"
    "$python" -m venv "$venv"
  fi
  for name in "$@"; do
    file=$root/scripts/requirements-$name.txt
    stamp=$venv/.installed-$name
    hash=$( (cat "$file" && "$venv/bin/python" --version) | sha256sum)
    if [[ -f $stamp && $(<"$stamp") == "$hash" ]]; then continue; fi
    say "install scripts/requirements-$name.txt into build/venv"
    pip_options=()
    # Only files are wanted from these packages, not what they would import.
    if [[ $name == data ]]; then pip_options+=(--no-deps); fi
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check \
      "${pip_options[@]}" -r "$file" >&2
    printf '%s\n' "$hash" >"$stamp"
  done
}

# The C++ sources of the project, separated by null characters.
cpp_sources() {
  if git -C "$root" rev-parse --is-inside-work-tree >/dev/null 2>&1; then
    # A file deleted but still in the index must not reach clang-format.
    (cd "$root" && git ls-files -z -co --exclude-standard -- '*.h' '*.cpp' |
      while IFS= read -r -d '' file; do
        if [[ -f $file ]]; then printf '%s\0' "$root/$file"; fi
      done)
  else
    find "$root" -path "$root/build" -prune -o \
      \( -name '*.h' -o -name '*.cpp' \) -print0
  fi
}

clang_format() {
  if command -v clang-format-22 >/dev/null; then
    clang-format-22 "$@"
  else
    "$(find_llvm)/bin/clang-format" "$@"
  fi
}
