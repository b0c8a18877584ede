import tomllib
from textwrap import dedent

from voice_openai_connect.toml_lines import key_lines, line_of

TEXT = dedent('''\
    # a comment = not a key
    top = 1
    [profile.default]
    greeting = "a = b"   # and [this] is no header
    instructions = """
    [not.a.header]
    not_a_key = 1
    """
    one_line = """all in one"""
    keywords = [
      "x = y",
    ]
    turn.silence = 3
    inline = { deep = 1 }
      [ profile . "two words" ]
    'quoted.key' = 1
    ''')


def test_the_text_is_toml():
    assert tomllib.loads(TEXT)


def test_every_key_and_header_has_its_line():
    assert key_lines(TEXT) == {
        ("top",): 2,
        ("profile", "default"): 3,
        ("profile", "default", "greeting"): 4,
        ("profile", "default", "instructions"): 5,
        ("profile", "default", "one_line"): 9,
        ("profile", "default", "keywords"): 10,
        ("profile", "default", "turn", "silence"): 13,
        ("profile", "default", "inline"): 14,
        ("profile", "two words"): 15,
        ("profile", "two words", "quoted.key"): 16,
    }


def test_what_has_no_line_gets_the_line_around_it():
    lines = key_lines(TEXT)

    assert line_of(lines, ("profile", "default", "keywords", 0)) == 10
    assert line_of(lines, ("profile", "default", "inline", "deep")) == 14
    assert line_of(lines, ("profile", "default", "missing")) == 3
    assert line_of(lines, ("nowhere",)) == 1
