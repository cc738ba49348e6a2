"""A query's text is read without being executed, says its mistakes with their place, and is written back as it was."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from rtap_lab.errors import SettingsError
from rtap_lab.queries.builders import begin, count, distinct, field, properties, tumble
from rtap_lab.queries.expression import condition_text, parse, written
from rtap_lab.queries.query import Query
from rtap_lab.testing import cases

VIEWS = 'tumble("1m").by("page").where(field("event_type") == "page_view").agg(views=count(), visitors=distinct("visitor_id"))'


def test_the_text_is_what_the_builders_are_called_with() -> None:
    built = (
        tumble("1m")
        .by("page")
        .where(field("event_type") == "page_view")
        .agg(views=count(), visitors=distinct("visitor_id"))
    )
    assert Query("q", parse(VIEWS)) == Query("q", built)
    assert written(built) == VIEWS
    text = """
    begin("view", field("page").starts_with("/product/"))
        .then_not(field("name") == "add_to_cart", within="20s")
        .by("visitor_id")
    """
    pattern = begin("view", field("page").starts_with("/product/")).then_not(field("name") == "add_to_cart", "20s")
    assert Query("q", parse(text)) == Query("q", pattern.by("visitor_id"))
    assert Query("q", parse(VIEWS + '.top(3, "views")')) == Query("q", built.top(3, "views"))


@given(st.integers(0, 100_000))
@example(7)
def test_any_query_is_written_and_read_back(seed: int) -> None:
    query = cases.query(seed)
    text = written(query)
    assert Query("q", parse(text)) == Query("q", query), text
    assert written(parse(text)) == text


@given(st.text(max_size=40), st.text(max_size=40))
def test_any_value_and_any_property_survive(key: str, value: str) -> None:
    condition = (properties[key] == value) & ~(properties[key] != value)
    query = tumble("1s").by(k=properties[key]).where(condition).agg(n=count())
    assert Query("q", parse(written(query))) == Query("q", query)
    assert condition_text(condition)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("tumble('1m').agg(n=cuont())", "did you mean count?"),
        ("tumbel('1m')", "did you mean tumble?"),
        ("tumble('1m').bye('page')", "did you mean by?"),
        ("tumble('1m').by('pgae').agg(n=count())", "'pgae' is not known"),
        ("tumble('1x')", "not a duration"),
        ("tumble('1m')", ".agg(views=count())"),
        ("begin('a', field('page') == '/')", '.by("visitor_id")'),
        (
            "begin('a', field('page') == '/').followed_by('b', field('page') == '/b').by('visitor_id')",
            "how long may it",
        ),
        ("tumble('1m').where(field('page') == '/' and field('name') == 'x')", "use & | ~"),
        ("tumble('1m').where(not field('page') == '/')", "use & | ~"),
        ("tumble('1m').where('/' == field('page'))", "on the left"),
        ("tumble('1m').where(1 < field('value') < 3)", "does not belong"),
        ("tumble('1m').agg(n=count(", "cannot be read, line 1"),
        ("count()", "that is no query"),
        ("'SELECT 1'", "that is no query"),
        ("", "cannot be read"),
        ("tumble(*['1m'])", "* and **"),
        ("tumble('1m', '2m', '3m')", "it takes size"),
        ("begin('a', field('page') == '/').next('b', field('page') == '/', within='9s').by('page')", '.within("20s")'),
        ("tumble('1m').agg(n=1)", "no aggregate"),
        ("(" * 4000 + ")" * 4000, "cannot be read"),
        ("-" * 100_000 + "1", "cannot be read"),
        ("field" + "['a']" * 5, "does not belong"),
    ],
)
def test_a_mistake_is_told_with_its_place(text: str, words: str) -> None:
    with pytest.raises(SettingsError) as raised:
        parse(text)
    told = str(raised.value)
    assert words in told
    assert len(told.splitlines()) <= 6


def test_the_caret_is_under_the_mistake() -> None:
    for text, at in [
        ("tumble('1m').agg(n=cuont())", "cuont"),
        ("tumble('1m')\n  .by('é')  # why\n  .agg(n=cuont())", "cuont"),
        ("tumble('1m').bye('page')", "bye"),
    ]:
        with pytest.raises(SettingsError) as raised:
            parse(text)
        excerpt, caret = raised.value.message.splitlines()[1:3]
        assert excerpt[caret.index("^") :].startswith(at), raised.value.message


@pytest.mark.parametrize(
    "text",
    [
        "__import__('os').system('id')",
        "tumble.__globals__",
        "tumble('1m').__class__.__mro__",
        "tumble('1m').by.__func__.__globals__['msgspec']",
        "field('page').__init__('x')",
        "().__class__.__bases__[0].__subclasses__()",
        "[x for x in ().__class__.__mro__]",
        "(lambda: 1)()",
        "tumble(f'{1}m')",
        "tumble('1m') if 1 else 2",
        "(x := tumble('1m'))",
        "properties.__class__",
        "properties['x'].__eq__('y')",
        "Measure.__init_subclass__()",
        "tumble('1m').agg(n=count()).__post_init__()",
        "open('/etc/passwd')",
        "eval('1')",
        "tumble('1m').keys",
        "field.__call__('page')",
    ],
)
def test_nothing_else_of_python_is_read(text: str) -> None:
    with pytest.raises(SettingsError):
        parse(text)
