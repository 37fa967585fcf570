import numpy as np
import pytest

from clipseed.errors import InputError
from models.backbones.vit.interpolate import fit_kernel, fit_positions


def ramp(height: int, width: int) -> np.ndarray:
    """Row and column of each patch's center in [0, 1], and two extra rows before."""
    rows = (np.arange(height) + 0.5) / height
    columns = (np.arange(width) + 0.5) / width
    grid = np.stack(np.meshgrid(rows, columns, indexing="ij"), -1).reshape(-1, 2)
    return np.concatenate([[[7, 8], [9, 10]], grid]).astype(np.float32)


def test_the_same_grid_is_untouched() -> None:
    positions = ramp(3, 5)
    assert fit_positions(positions, 2, (3, 5), (3, 5)) is positions


def test_interpolates_between_the_centers_of_patches() -> None:
    fitted = fit_positions(ramp(4, 4), 2, (4, 4), (6, 8))
    np.testing.assert_array_equal(fitted[:2], [[7, 8], [9, 10]])
    wanted = np.clip(ramp(6, 8)[2:], 1 / 8, 7 / 8)  # constant beyond the outermost
    np.testing.assert_allclose(fitted[2:], wanted, atol=1e-6)


def test_shrinks_one_axis_and_grows_the_other() -> None:
    fitted = fit_positions(ramp(14, 14), 2, (14, 14), (8, 50))
    wanted = np.clip(ramp(8, 50)[2:], 1 / 28, 27 / 28)
    np.testing.assert_allclose(fitted[2:], wanted, atol=1e-6)


def test_a_video_repeats_the_positions_of_a_picture() -> None:
    positions = ramp(2, 3)
    fitted = fit_positions(positions, 2, (2, 3), (4, 2, 3))
    np.testing.assert_array_equal(fitted[:2], positions[:2])
    np.testing.assert_array_equal(fitted[2:].reshape(4, 6, 2), [positions[2:]] * 4)


@pytest.mark.parametrize("new_grid", [(6,), ()])
def test_refuses_a_grid_of_fewer_axes(new_grid: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match="do not fit a grid"):
        fit_positions(ramp(2, 3), 2, (2, 3), new_grid)


def test_refuses_positions_of_another_grid() -> None:
    with pytest.raises(InputError, match="8 positions of a grid"):
        fit_positions(ramp(2, 3), 2, (3, 3), (4, 4))


def test_one_channel_sees_of_gray_what_three_saw() -> None:
    kernel = np.random.default_rng(0).normal(size=(4, 4, 3, 5))
    gray = np.random.default_rng(1).normal(size=(4, 4, 1))
    seen = np.einsum("hwc,hwcd->d", np.repeat(gray, 3, -1), kernel)
    fitted = fit_kernel(kernel, (4, 4), 1)
    np.testing.assert_allclose(np.einsum("hwc,hwcd->d", gray, fitted), seen)
    assert fit_kernel(kernel, (4, 4), 3) is kernel


def test_a_tubelet_starts_with_its_central_frame() -> None:
    kernel = np.random.default_rng(0).normal(size=(4, 4, 3, 5))
    fitted = fit_kernel(kernel, (3, 4, 4), 3)
    np.testing.assert_array_equal(fitted[1], kernel)
    assert not fitted[[0, 2]].any()


def test_bicubic_positions_are_those_of_torch() -> None:
    """Two points to four: Keys' kernel with a = -0.75, by hand."""
    ends = np.array([[9.0], [0.0], [1.0]], np.float32)  # an extra token comes first
    found = fit_positions(ends, 1, (2,), (4,), "bicubic")
    wanted = [9, -0.10546875, 0.2265625, 0.7734375, 1.10546875]
    np.testing.assert_allclose(found[:, 0], wanted, atol=1e-6)
    square = np.arange(4.0, dtype=np.float32)[:, None]  # 2 i + j
    grid = fit_positions(square, 0, (2, 2), (4, 4), "bicubic").reshape(4, 4)
    steps = np.array(wanted[1:])
    np.testing.assert_allclose(grid, 2 * steps[:, None] + steps, atol=1e-6)
