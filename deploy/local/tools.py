"""Programs of the machine that Kafka needs: Java to run it, Maven to fetch it."""

import os
import re
import shutil
import subprocess

from deploy.local.errors import MissingToolError

_PART = "kafka"
_JAVA_AT_LEAST = 17
_REMEDY = "install both of Kafka's tools, e.g. apt-get install default-jre-headless maven"


def require_java() -> str:
    """Return the path of a Java 17 or later: the one of ``JAVA_HOME`` when that is set, else the one on PATH.

    Raises:
        MissingToolError: There is none, or it is older.
    """
    home = os.environ.get("JAVA_HOME")
    java = shutil.which("java", path=f"{home}/bin" if home else None)
    found = f"none in JAVA_HOME={home}" if home else ""
    if java is not None:
        # It says for example: openjdk version "17.0.15" 2025-04-15
        said = subprocess.run([java, "-version"], capture_output=True, text=True, check=False).stderr
        version = re.search(r'version "(\d+)', said)
        if version is not None and int(version[1]) >= _JAVA_AT_LEAST:
            return java
        found = version[0] if version is not None else f"{java}, which tells no version"
    raise MissingToolError(_PART, f"Java {_JAVA_AT_LEAST} or later", found=found, remedy=_REMEDY)


def java_environment() -> dict[str, str]:
    """Return our environment with a UTF-8 locale, for programs in Java.

    Java encodes file names by the locale. In the locale C it cannot open a path with Chinese characters.
    """
    return {**os.environ, "LC_ALL": "C.UTF-8"}


def require_maven() -> str:
    """Return the path of Maven.

    Raises:
        MissingToolError: It is not on PATH.
    """
    maven = shutil.which("mvn")
    if maven is None:
        raise MissingToolError(_PART, "Apache Maven (mvn)", remedy=_REMEDY)
    return maven
