"""Files of a package index, read without storing them."""

import io
import json
import subprocess
import sys
import tempfile
import urllib.request

PLATFORMS = [f"manylinux_2_{n}_x86_64" for n in (39, 35, 34, 31, 28, 27, 24, 17)] + ["manylinux2014_x86_64"]


class RemoteFile(io.RawIOBase):
    """A file behind a URL, read by ranges."""

    def __init__(self, url: str):
        self.url, self.position = url, 0
        with urllib.request.urlopen(urllib.request.Request(url, method="HEAD")) as answer:
            self.size = int(answer.headers["Content-Length"])

    def readable(self):
        return True

    def seekable(self):
        return True

    def tell(self):
        return self.position

    def seek(self, offset, whence=io.SEEK_SET):
        self.position = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self.position, io.SEEK_END: self.size}[whence]
        return self.position

    def readinto(self, buffer):
        stop = min(self.position + len(buffer), self.size)
        if stop <= self.position:
            return 0
        request = urllib.request.Request(self.url, headers={"Range": f"bytes={self.position}-{stop - 1}"})
        with urllib.request.urlopen(request) as answer:
            content = answer.read()
        buffer[: len(content)] = content
        self.position += len(content)
        return len(content)


def wheel_url(requirement: str) -> str:
    """Where pip would download the Linux wheel of `requirement` from."""
    command = [sys.executable, "-m", "pip", "install", "-q", "--dry-run", "--ignore-installed", "--no-deps"]
    command += ["--target", tempfile.gettempdir(), "--only-binary=:all:", "--report", "-"]
    command += ["--python-version", f"{sys.version_info.major}.{sys.version_info.minor}", "--implementation", "cp"]
    command += [word for platform in PLATFORMS for word in ("--platform", platform)]
    report = subprocess.run([*command, requirement], check=True, capture_output=True).stdout
    return json.loads(report)["install"][0]["download_info"]["url"]
