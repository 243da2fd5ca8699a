import pytest
from jinja2 import UndefinedError

from components.data_quality.pages import render


@pytest.fixture
def template(tmp_path):
    path = tmp_path / "greeting.html.jinja"
    path.write_text("{% extends 'page.html.jinja' %}{% block title %}{{ title }}{% endblock %}{% block content %}{{ text }}{% endblock %}")
    return path


def test_render_uses_common_layout_and_escapes_values(template):
    page = render(template, title="a & b", text="<script>{{ 7 * 7 }}")
    assert page.startswith("<!doctype html>")
    assert page.count("a &amp; b") == 2
    assert "&lt;script&gt;{{ 7 * 7 }}" in page


def test_render_raises_when_variable_is_missing(template):
    with pytest.raises(UndefinedError, match="'text' is undefined"):
        render(template, title="")
