"""What a person reads when the server refuses or fails."""

from x2v_quant.headless.client import Event, Result, failure, refusal


def test_refusal_names_node_type_and_reason():
    complaint = {"message": "Value not in list", "details": "model_name: 'x' not in []"}
    text = refusal(
        {
            "error": {"message": "Prompt outputs failed validation", "details": ""},
            "node_errors": {"3": {"class_type": "X2VLoadDiT", "errors": [complaint]}},
        }
    )
    assert text.splitlines() == [
        "the server refused the prompt: Prompt outputs failed validation",
        "node 3 (X2VLoadDiT): Value not in list: model_name: 'x' not in []",
    ]


def test_failure_names_node_type_and_message():
    data = {"node_id": "3", "node_type": "X2VLoadDiT", "exception_type": "ValueError"}
    data["exception_message"] = "no scale\n"
    assert failure(Event("execution_error", data)) == "node 3 (X2VLoadDiT) failed with ValueError: no scale"


def test_files_are_found_among_other_outputs():
    file = {"filename": "a.mp4", "subfolder": "video", "type": "output"}
    outputs = {"1": {"text": ["a report"]}, "2": {"images": [file], "animated": [True]}}
    assert Result("id", outputs).files() == [file]
