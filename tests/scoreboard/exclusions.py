"""What the scoreboard leaves out, with a reason each. Nothing else is left out or eased."""

from __future__ import annotations

import re

# Entries that are not run: a pattern of whole names and why.
ENTRIES = {
    r"torch\.ops\.aten\..*": "a private kernel of PyTorch, not a public name",
    r"slice|max_pool2d_with_indices_backward|native_dropout_backward": (
        "calls torch.ops.aten, PyTorch's private kernels"
    ),
    r"torch\._scaled_mm(_v2)?": "a private function of PyTorch, for float8 on GPUs",
    r"_softmax_backward_data|_batch_norm_with_update|_upsample_bilinear2d_aa": (
        "calls torch.ops.aten, PyTorch's private kernels"
    ),
    r"jiterator_.*": "compiles CUDA text at run time; cupola has cupola.code for that",
    r"to_sparse|sparse\..*": "gives a sparse tensor",
}

# Entries whose values PyTorch leaves undefined: shape and dtype are compared, values are not.
UNDEFINED = {
    r"(new_)?empty(_like|_strided|_permuted)?": "uninitialised memory",
}

# Entries whose results have an arbitrary sign or phase: values are compared after the database's
# own normalisation, `output_process_fn_grad`; shape and dtype are compared before it as well.
PHASES = {
    r"(linalg\.)?(svd|eig|eigh)|svd_lowrank|pca_lowrank|lobpcg": (
        "eigenvectors and singular vectors have no unique phase"
    ),
}

# Entries that meet no `out=` of another dtype: torch would crash before cupola is asked.
FRAGILE = {
    r"linalg\.lu|lu_unpack": "torch writes beyond the memory of an `out=` of another dtype",
}

# Entries that meet no strided `out=`: torch fills such memory with something else than its result.
MISWRITTEN = {
    r"linalg\.lu|lu_unpack": "torch 2.13 writes another L into it, and beyond its memory",
    r"nn\.functional\.gelu": "torch 2.13 leaves a strided `out=` as it was",
    r"matmul|nn\.functional\.linear": (
        "torch 2.13 refuses a strided `out=` of the result's own shape where it folds dimensions"
    ),
    r"narrow_copy|nn\.functional\.avg_pool3d": (
        "torch 2.13 writes the values into a strided `out=` as if it were contiguous"
    ),
}

# Entries whose column `out=` is left out.
UNWRITTEN = {
    r"fft\.ihfftn": "torch 2.13 leaves `out=` as it was where one dimension is transformed",
}

# Samples whose values are not compared: torch's own are wrong. A pattern is of the whole text
# "ENTRY KIND DTYPE SAMPLE", with the sample as `samples.described` writes it.
WRONG = {
    r"as_strided_scatter (gradient|second|forward_ad) .*": (
        "torch 2.13 gives the input the gradient of the replaced elements instead of the kept ones"
    ),
    r"(linalg\.)?matrix_exp (forward|method|out) (bfloat16|float16) .*": (
        "torch 2.13 gives NaN for every matrix in half types"
    ),
    r"cholesky_inverse forward_ad .*": (
        "torch 2.13 is 7e-6 away from central differences in float64, ours 1e-12"
    ),
    r"logcumsumexp forward_ad .*": (
        "torch 2.13 is 1e-6 to 3e-6 away from central differences in float64, ours below 2e-8"
    ),
    r"nn\.functional\.linear_cross_entropy\.chunked second .*": (
        "torch 2.13 takes the first gradient for a constant: its source calls second ones "
        "unsupported, and they are zero for the input and the weight"
    ),
    r"linalg\.norm second \S+ \[0\], 3\.5, .*": (
        "torch 2.13 gives NaN for the cotangent of the norm of no elements, which is constant"
    ),
    r"masked\.logaddexp second .*_mask=.*": (
        "torch 2.13 gives NaN where one operand is masked: the result is the other one, with "
        "second derivatives of zero"
    ),
}

# Error inputs that are not asked for on a GPU, by the message that torch gives on the CPU.
UNCHECKED = {
    r"out of bounds for dimension": (
        "PyTorch's database leaves them out on GPUs, where no index is checked"
    ),
}

# Samples that hold such a tensor are skipped wherever they occur.
LAYOUTS = {
    "sparse": "sparse tensors are not implemented",
    "quantized": "quantised tensors are not implemented",
    "nested": "nested tensors are not implemented",
    "float8": "arithmetic on 8-bit floats is not implemented",
}


def _reason(table: dict[str, str], name: str) -> str | None:
    for pattern, reason in table.items():
        if re.fullmatch(pattern, name):
            return reason
    return None


def excluded(name: str) -> str | None:
    """Why an entry is not run; None when it is."""
    return _reason(ENTRIES, name)


def undefined(name: str) -> bool:
    """Whether an entry's values are undefined in PyTorch."""
    return _reason(UNDEFINED, name) is not None


def phases(name: str) -> bool:
    """Whether an entry's results are unique up to a phase only."""
    return _reason(PHASES, name) is not None


def wrong(sample: str) -> bool:
    """Whether torch's values for a sample ("ENTRY KIND DTYPE SAMPLE") are wrong."""
    return _reason(WRONG, sample) is not None


def miswritten(name: str) -> bool:
    """Whether torch's result in a strided ``out=`` is another than its result without."""
    return _reason(MISWRITTEN, name) is not None


def unwritten(name: str) -> bool:
    """Whether torch does not write an entry's ``out=``."""
    return _reason(UNWRITTEN, name) is not None


def unchecked(message: str) -> bool:
    """Whether an error input is not asked for on a GPU."""
    return any(re.search(pattern, message) for pattern in UNCHECKED)


def fragile(name: str) -> bool:
    """Whether torch crashes when an entry writes into an ``out=`` of another dtype."""
    return _reason(FRAGILE, name) is not None
