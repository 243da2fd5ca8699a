import pytest
from jinja2 import UndefinedError

from components.data_quality.pages import render


@pytest.fixture
def template(tmp_path):
    path = tmp_path / "greeting.html.jinja"
    path.write_text("{% extends 'page.html.jinja' %}{% block title %}{{ title }}{% endblock %}{% block content %}{{ text }}{% endblock %}")
    return path


def test_a_page_has_the_common_layout_and_its_values_are_escaped(template):
    page = render(template, title="a & b", text="<script>{{ 7 * 7 }}")
    assert page.startswith("<!doctype html>")
    assert page.count("a &amp; b") == 2
    assert "&lt;script&gt;{{ 7 * 7 }}" in page


def test_a_page_with_a_missing_variable_is_an_error(template):
    with pytest.raises(UndefinedError, match="'text' is undefined"):
        render(template, title="")
