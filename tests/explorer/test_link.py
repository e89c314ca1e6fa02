"""Links that restore a view."""

from hypothesis import given
from hypothesis import strategies as st

from explorer.link import View, from_query, to_query
from explorer.paper import GAINS, LAYOUTS, ORDERS, SPEEDS

numbers = st.floats(-1000, 5000).map(lambda value: round(value, 3))
flags = {name: st.booleans() for name in ("locked", "march", "rr")}
time_calipers = st.fixed_dictionaries({"kind": st.just("time"), "a": numbers, "b": numbers, **flags})
voltage_calipers = st.fixed_dictionaries(
    {"kind": st.just("voltage"), "a": numbers, "b": numbers, "segment": st.integers(0, 14), **flags}
)
views = st.builds(
    View,
    record=st.sampled_from(["", "sample:sample_ecg_mi.csv", "ptbxl:17"]),
    layout=st.sampled_from(list(LAYOUTS)),
    order=st.sampled_from(ORDERS),
    speed=st.sampled_from(SPEEDS),
    gain=st.sampled_from(GAINS),
    calipers=st.lists(time_calipers | voltage_calipers, max_size=4),
)


@given(views)
def test_link_restores_the_view(view):
    assert from_query(to_query(view)) == (view, [])


@given(
    st.dictionaries(st.sampled_from(["record", "layout", "order", "speed", "gain", "calipers"]), st.text())
)
def test_links_of_any_kind_give_a_view(query):
    view, ignored = from_query(query)
    assert view.layout in LAYOUTS and view.speed in SPEEDS and view.gain in GAINS and view.order in ORDERS
    assert len(ignored) <= len(query)


def test_link_of_an_upload_holds_no_record():
    assert to_query(View("upload:0123", gain=20.0)) == {"gain": "20"}
    view, ignored = from_query({"record": "upload:0123", "speed": "30", "calipers": "[[1]]"})
    assert view == View() and len(ignored) == 3
