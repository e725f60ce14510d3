"""Bars, by tqdm or by something like it."""

import pytest

import sunalign
from sunalign import simulate
from sunalign._progress import reporter, tracked


class Bar:
    """What of tqdm is used."""

    made = ()

    def __init__(self, items=(), desc="", **_):
        self.items, self.desc, self.count, self.closed = items, desc, 0, False
        Bar.made = (*Bar.made, self)

    def __iter__(self):
        for item in self.items:
            self.count += 1
            yield item

    def update(self, n):
        self.count += n

    def set_postfix(self, **_):
        pass

    def close(self):
        self.closed = True


@pytest.fixture(autouse=True)
def _no_bars_yet():
    Bar.made = ()


def test_nothing_is_shown_unless_asked_for():
    items = [1, 2]
    assert tracked(items, None, "") is items
    with reporter(False) as report:
        assert report is None


def test_true_is_tqdm(capsys):
    assert list(tracked([1, 2, 3], True, "frames")) == [1, 2, 3]
    assert "frames" in capsys.readouterr().err


@pytest.mark.parametrize("progress", ["yes", 3])
def test_anything_else_is_refused(progress):
    with pytest.raises(TypeError, match="'progress' is True, False or a callable"):
        list(tracked([1], progress, ""))


@pytest.fixture(scope="module")
def pair():
    return simulate.raster_pair(1, n_steps=32, n_slit=200)


def test_headers_are_counted(pair, tmp_path):
    for name in ("a.fits", "b.fits"):
        pair.reference.save(tmp_path / name)
    date = pair.reference.date
    assert sunalign.find_images(tmp_path, date, date, progress=Bar)
    assert Bar.made[0].count == 2


def test_figures_of_a_report_are_counted(pair, tmp_path):
    result = sunalign.align(pair.target, pair.reference)
    result.report(tmp_path / "report.html", progress=Bar)
    assert Bar.made[0].desc == "figures"
    assert Bar.made[0].count == 6


def test_trials_are_counted_and_the_bar_is_closed(pair):
    result = sunalign.align(pair.target, pair.reference, optimizer="hill-climb", progress=Bar)
    (bar,) = Bar.made
    assert 0 < bar.count <= result.nfev
    assert bar.closed
