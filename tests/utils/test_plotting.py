"""The pictures: scale, colors, labels, files."""

import itertools

import matplotlib
import numpy as np
import pytest
from matplotlib.collections import QuadMesh
from matplotlib.patches import Rectangle
from PIL import Image

from utils.ecg import DISPLAY_NAMES, NOT_A_DEVICE
from utils.errors import DataError, UsageError
from utils.plotting.ecg import Stretch, plot_channels, plot_ecg


def ecg(seconds=10.0, sampling_rate=100, tallest=1.5):
    """Twelve leads with a narrow beat every 0.8 s, a slow wave and an offset."""
    t = np.arange(round(seconds * sampling_rate)) / sampling_rate
    beat = np.exp(-(((t % 0.8 - 0.3) / 0.02) ** 2)) + 0.2 * np.exp(-(((t % 0.8 - 0.55) / 0.06) ** 2))
    return beat[:, None] * np.linspace(-1, 1, 12) * tallest + 0.4


def shares(seed=0):
    """A heatmap (1000, 12) that sums to 1."""
    values = np.exp(np.random.default_rng(seed).normal(size=(1000, 12)))
    return values / values.sum()


def texts(figure):
    return [t.get_text() for t in [*figure.texts, *(t for axes in figure.axes for t in axes.texts)]]


def traces(figure):
    return [line for line in figure.axes[0].lines if len(line.get_xdata()) > 10]


def test_picture_is_written_with_everything_it_must_say(tmp_path):
    path = tmp_path / "new" / "ecg.png"
    channel = np.full(12, 0.05)
    channel[6] = 0.45
    figure = plot_ecg(ecg(), 100, path, title="Record 1", subtitle="MI 0.93", channel=channel)
    said = texts(figure)
    assert said.count(NOT_A_DEVICE) == 1
    assert {"Record 1", "MI 0.93", "45.0 %", "25 mm/s   10 mm/mV", *DISPLAY_NAMES} <= set(said)
    assert [t.get_text() for t in figure.axes[0].get_xticklabels()] == [f"{s} s" for s in range(11)]
    with Image.open(path) as image:
        pixels = np.asarray(image.convert("RGB"))
        assert image.info["dpi"][0] == pytest.approx(127, abs=0.1)
    assert pixels.shape[:2] == tuple(round(5 * mm) for mm in figure.get_size_inches()[::-1] * 25.4)
    assert (pixels < 60).all(axis=2).mean() > 0.002  # ink
    assert len(np.unique(pixels.reshape(-1, 3), axis=0)) > 20
    assert path.stat().st_size < 600_000
    assert [p.name for p in path.parent.iterdir()] == ["ecg.png"]


@pytest.mark.parametrize(("seconds", "rate"), [(2.5, 100), (10, 500), (60, 250)])
@pytest.mark.parametrize("layout", ["12x1", "6x2"])
def test_scale_is_true_millimeters(seconds, rate, layout):
    signals = ecg(seconds, rate)
    figure = plot_ecg(signals, rate, None, layout=layout)
    axes = figure.axes[0]
    box = axes.get_position()
    width, height = figure.get_size_inches() * 25.4
    assert box.width * width == pytest.approx(np.diff(axes.get_xlim())[0])  # axes units are millimeters
    assert box.height * height == pytest.approx(np.diff(axes.get_ylim())[0])
    drawn = traces(figure)
    assert len(drawn) == 12
    for lead, line in enumerate(drawn):
        x, y = line.get_xdata(), line.get_ydata()
        assert np.diff(x) == pytest.approx(25 / rate)
        part = signals[:, lead]
        if layout == "6x2":
            half = (len(part) + 1) // 2
            part = part[:half] if lead < 6 else part[half:]
        assert len(part) == len(y)
        np.testing.assert_allclose(y - y[0], 10 * (part - part[0]), atol=1e-9)
        assert axes.get_xlim()[0] < x.min() and x.max() < axes.get_xlim()[1]


@pytest.mark.parametrize("tallest", [0.1, 1.5, 4.0])
def test_traces_neither_overlap_nor_leave_the_paper(tallest):
    figure = plot_ecg(ecg(tallest=tallest), 100, None)
    lines = [line.get_ydata() for line in traces(figure)]
    for upper, lower in itertools.pairwise(lines):
        assert (upper - lower).min() > 2
    low, high = figure.axes[0].get_ylim()
    assert min(y.min() for y in lines) > low and max(y.max() for y in lines) < high


def test_artifact_beyond_the_paper_is_announced():
    signals = ecg()
    assert not any("beyond the paper" in text for text in texts(plot_ecg(signals, 100, None)))
    signals[500:520, 7] = 90.0
    assert "beyond the paper: V2" in texts(plot_ecg(signals, 100, None))


def test_warnings_are_painted_where_they_belong_and_the_notice_stays(tmp_path):
    stretches = [Stretch("V3", 12.0, 14.0, "rail at 5 mV", True), Stretch("V3", 16.0, 16.0, "spike", False)]
    signals = ecg()
    signals[200:400, 8] = 50.0
    path = tmp_path / "a.png"
    figure = plot_ecg(signals, 100, path, stretches=stretches, subtitle="MI 0.9\nWARNING: x", begin=10.0)
    assert {"rail at 5 mV", "spike", "MI 0.9", "WARNING: x", NOT_A_DEVICE} <= set(texts(figure))
    axes = figure.axes[0]
    assert [label.get_text() for label in axes.get_xticklabels()][:3] == ["10 s", "11 s", "12 s"]
    boxes = [patch for patch in axes.patches if isinstance(patch, Rectangle)]
    (line,) = [text for text in axes.texts if text.get_text() == "V3"]
    for box, stretch in zip(boxes, stretches, strict=True):
        assert box.get_x() == pytest.approx(15 + (stretch.start - 10) * 25)
        assert box.get_y() < line.get_position()[1] < box.get_y() + box.get_height()
    assert boxes[0].get_width() == pytest.approx(50) and boxes[1].get_width() >= 1
    assert not any("beyond the paper" in text for text in texts(figure))  # what is lost has no height


def test_color_bar_covers_exactly_what_is_drawn(tmp_path):
    heat = shares() * 12000
    figure = plot_ecg(ecg(), 100, tmp_path / "a.png", heat=heat, heat_label="attention (1 = uniform)")
    meshes = [c for c in figure.axes[0].collections if isinstance(c, QuadMesh)]
    assert len(meshes) == 12
    for lead, mesh in enumerate(meshes):
        np.testing.assert_array_equal(np.ravel(mesh.get_array()), heat[:, lead])
        assert (mesh.norm.vmin, mesh.norm.vmax) == (heat.min(), heat.max())
    assert figure.axes[1].get_xlim() == pytest.approx((heat.min(), heat.max()))
    assert "attention (1 = uniform); square-root scale" in texts(figure)

    clipped = plot_ecg(ecg(), 100, None, heat=heat, heat_label="attention", clip_percentile=99)
    mesh = next(c for c in clipped.axes[0].collections if isinstance(c, QuadMesh))
    assert mesh.norm.vmax == pytest.approx(np.percentile(heat, 99))
    assert any("stronger values share the last color" in text for text in texts(clipped))

    half = plot_ecg(ecg(), 100, None, heat=heat, layout="6x2")
    mesh = next(c for c in half.axes[0].collections if isinstance(c, QuadMesh))
    assert mesh.norm.vmax == max(heat[:500, :6].max(), heat[500:, 6:].max())


def test_heat_colors_the_right_place(tmp_path):
    heat = np.zeros((1000, 12))
    heat[400:500, 8] = 1  # V3 from 4 to 5 s
    path = tmp_path / "a.png"
    figure = plot_ecg(ecg(), 100, path, heat=heat)
    with Image.open(path) as image:
        pixels = np.asarray(image.convert("RGB")).astype(int)
    axes = figure.axes[0]
    violet = pixels[..., 2] - pixels[..., 1] > 60
    box = axes.get_position()
    top = round(pixels.shape[0] * (1 - box.y1))
    bottom = round(pixels.shape[0] * (1 - box.y0))
    rows, columns = np.nonzero(violet[top:bottom])
    left = 5 * (20 + 15 + 25 * 4)
    assert abs(columns.min() - left) <= 3 and abs(columns.max() - (left + 5 * 25)) <= 3
    row = traces(figure)[8].get_ydata()[400:500]
    height = (bottom - top) / 5 - rows / 5
    assert row.min() - 3 < height.min() and height.max() < row.max() + 3


@pytest.mark.parametrize("value", [0.0, 2.0])
def test_constant_heat_can_be_drawn(tmp_path, value):
    figure = plot_ecg(ecg(), 100, tmp_path / "a.png", heat=np.full((1000, 12), value))
    mesh = next(c for c in figure.axes[0].collections if isinstance(c, QuadMesh))
    assert (mesh.norm.vmin, mesh.norm.vmax) == (0, value or 1)


def test_pictures_of_the_same_input_have_the_same_bytes(tmp_path):
    heat = shares()
    by_lead = heat.sum(axis=0)
    for name in ("a", "b"):
        plot_ecg(ecg(), 100, tmp_path / f"{name}.png", heat=heat)
        plot_channels(by_lead, tmp_path / f"{name}_c.png", tmp_path / f"{name}_c.html")
    for suffix in (".png", "_c.png", "_c.html"):
        assert (tmp_path / f"a{suffix}").read_bytes() == (tmp_path / f"b{suffix}").read_bytes()


def test_plot_names_bad_input():
    signals = ecg()
    with pytest.raises(DataError, match="12 leads"):
        plot_ecg(signals.T, 100, None)
    broken = signals.copy()
    broken[7, 3] = np.nan
    with pytest.raises(DataError, match="lead aVR at sample 7"):
        plot_ecg(broken, 100, None)
    with pytest.raises(DataError, match="negative"):
        plot_ecg(signals, 100, None, heat=-np.ones_like(signals))
    with pytest.raises(DataError, match="same shape"):
        plot_ecg(signals, 100, None, heat=np.ones((999, 12)))
    with pytest.raises(DataError, match="sum to 1"):
        plot_ecg(signals, 100, None, channel=np.ones(12))
    with pytest.raises(UsageError, match="12x1"):
        plot_ecg(signals, 100, None, layout="12x")
    with pytest.raises(UsageError, match="positive"):
        plot_ecg(signals, 0, None)
    with pytest.raises(UsageError, match="120 s"):
        plot_ecg(signals, 1, None)


def test_channel_pictures(tmp_path):
    shares = np.array([0.34, *[0.06] * 11])
    figure = plot_channels(shares, tmp_path / "c.png", tmp_path / "c.html", title="Leads <of> record 1")
    assert [p.get_height() for p in figure.axes[0].patches] == pytest.approx(100 * shares)
    assert [t.get_text() for t in figure.axes[0].get_xticklabels()] == list(DISPLAY_NAMES)
    assert NOT_A_DEVICE in texts(figure)
    with Image.open(tmp_path / "c.png") as image:
        assert image.size[0] > 900 and len(image.convert("RGB").getcolors(1 << 20)) > 20
    page = (tmp_path / "c.html").read_text(encoding="utf-8")
    assert NOT_A_DEVICE in page and "Leads &lt;of&gt; record 1" in page
    assert page.count("<rect") == 12 and "aVR: 6.00 %" in page and "34.0 %" in page
    assert "<script" not in page and "http:" not in page
    with pytest.raises(DataError, match="12 shares"):
        plot_channels(shares[:11], tmp_path / "x.png", tmp_path / "x.html")


def test_style_and_font_of_a_user_do_not_change_pictures(tmp_path):
    signals = np.random.default_rng(0).normal(0, 0.1, (300, 12))
    plot_ecg(signals, 100, tmp_path / "plain.png", title="x")
    plot_channels(np.full(12, 1 / 12), tmp_path / "channels.png", tmp_path / "a.html")
    with matplotlib.rc_context({"text.usetex": True, "font.size": 30, "axes.grid": True}):
        plot_ecg(signals, 100, tmp_path / "styled.png", title="x")
        plot_channels(np.full(12, 1 / 12), tmp_path / "styled_channels.png", tmp_path / "b.html")
    for name in ("plain", "channels"):
        styled = tmp_path / f"styled{'_channels' * (name == 'channels')}.png"
        assert styled.read_bytes() == (tmp_path / f"{name}.png").read_bytes()
    plot_ecg(signals, 100, tmp_path / "boxes.png", title="\u5fc3 \x00 \udcfc $x_{")  # no glyph, no character
