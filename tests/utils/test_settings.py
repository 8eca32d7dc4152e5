"""Switches and questions have PyTorch's answers."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")
import cupola  # noqa: E402

SIDES = (torch, cupola)


def both(function):
    want, got = (function(m) for m in SIDES)
    assert want == got
    return got


@pytest.mark.parametrize("mode", [True, False])
@pytest.mark.parametrize("warn", [True, False])
def test_deterministic(mode, warn):
    def ask(m):
        try:
            m.use_deterministic_algorithms(mode, warn_only=warn)
            return (
                m.are_deterministic_algorithms_enabled(),
                m.is_deterministic_algorithms_warn_only_enabled(),
                m.get_deterministic_debug_mode(),
            )
        finally:
            m.use_deterministic_algorithms(False)

    both(ask)


def test_matmul_precision():
    def ask(m):
        before = m.get_float32_matmul_precision()
        m.set_float32_matmul_precision("high")
        now = m.get_float32_matmul_precision()
        m.set_float32_matmul_precision(before)
        return before, now

    both(ask)
    with pytest.raises(RuntimeError, match="not one of"):
        cupola.set_float32_matmul_precision("low")


def test_default_type():
    def ask(m):
        m.set_default_tensor_type("torch.DoubleTensor")
        found = str(m.zeros(1).dtype)
        m.set_default_tensor_type(m.FloatTensor)
        return found, str(m.zeros(1).dtype)

    both(ask)
    with pytest.raises(TypeError):
        cupola.set_default_tensor_type("torch.LongTensor")


def test_questions():
    both(lambda m: [m.is_conj(m.ones(1)), m.is_neg(m.ones(1)), m.is_signed(m.ones(1).byte())])
    both(
        lambda m: [m.is_inference(m.ones(1)), m.is_storage(m.ones(1)), m.is_distributed(m.ones(1))]
    )
    both(lambda m: [m.typename(m.ones(1)), m.typename(3), m.typename(m.ones(1).long())])
    both(lambda m: m.fill_(m.zeros(2), 3.0).tolist() + m.detach(m.ones(1)).tolist())


def test_buffers_and_files(tmp_path):
    data = np.arange(6, dtype="float32")
    data.tofile(tmp_path / "x.bin")
    name = str(tmp_path / "x.bin")
    both(
        lambda m: m.frombuffer(
            bytearray(data.tobytes()), dtype=m.float32, count=2, offset=4
        ).tolist()
    )
    both(lambda m: m.from_file(name, size=3).tolist())
    with pytest.raises(ValueError):
        cupola.frombuffer(b"", dtype=cupola.float32)


def test_switches_reach_the_gpu_backend():
    from cupola.backends.cuda.flags import flags

    try:
        cupola.use_deterministic_algorithms(True)
        assert flags.deterministic
        cupola.backends.cudnn.deterministic = True
        cupola.use_deterministic_algorithms(False)
        assert flags.deterministic
        cupola.backends.cudnn.deterministic = False
        assert not flags.deterministic
        cupola.set_float32_matmul_precision("medium")
        assert flags.matmul_tf32 and cupola.get_float32_matmul_precision() == "medium"
        cupola.backends.cuda.matmul.allow_tf32 = False
        assert cupola.get_float32_matmul_precision() == "highest"
        cupola.backends.cuda.matmul.allow_tf32 = True
    finally:
        cupola.set_float32_matmul_precision("highest")
    assert not flags.matmul_tf32
