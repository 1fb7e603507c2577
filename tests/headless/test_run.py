"""What becomes of the files that a server saved."""

import pytest

from x2v_quant.headless.client import Client, ServerError
from x2v_quant.headless.run import keep


@pytest.mark.parametrize("subfolder", ["..", "a/../../b"])
def test_a_file_outside_the_output_folder_is_not_fetched(subfolder, tmp_path):
    file = {"filename": "a.png", "subfolder": subfolder, "type": "output"}
    with pytest.raises(ServerError, match=r"the server saved a file outside its output folder, .*: it is not fetched"):
        keep(Client("http://127.0.0.1:9"), file, tmp_path / "output", local=False)
