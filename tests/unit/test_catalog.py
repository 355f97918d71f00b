"""What is said before anything is sent: where text would go, and which exported keys stay unused."""

from assistant.models.catalog import destination, found_keys
from assistant.models.request import ModelChoice


def test_where_text_goes_is_known_before_anything_is_sent() -> None:
    assert destination(ModelChoice("openai/gpt-4o"), {}) == "openai (api.openai.com)"
    assert destination(ModelChoice("gpt-4o"), {}) == "openai (api.openai.com)"
    assert destination(ModelChoice("llama3", "http://127.0.0.1:9999/v1"), {}) == "127.0.0.1:9999"
    assert destination(ModelChoice("openai/x", "https://user:pw@llm.corp.example/v1?k=1"), {}) == "llm.corp.example"
    assert destination(ModelChoice("azure/d", "https://my.openai.azure.com"), {}) == "azure (my.openai.azure.com)"
    assert destination(ModelChoice("gpt-4o"), {"OPENAI_BASE_URL": "http://proxy:8080"}) == "proxy:8080"


def test_an_exported_key_is_named_with_the_line_that_uses_it() -> None:
    env = {"ANTHROPIC_API_KEY": "sk-ant-x", "GROQ_API_KEY": " ", "OPENAI_API_KEY": "sk-x"}
    found = found_keys(env)
    assert [(k.variable, k.provider) for k in found] == [
        ("OPENAI_API_KEY", "openai"),
        ("ANTHROPIC_API_KEY", "anthropic"),
    ]
    assert found[1].example_line.startswith("KUBECHAT_MODEL=anthropic/")
    assert [k.provider for k in found_keys(env, ModelChoice("openai/gpt-4o"))] == ["anthropic"]
    assert "sk-" not in repr(found)
