# Runs in the image, as its user, without network. What it prints first is the version.
python --version
pip --version
[ "$(command -v python)" = /opt/python/bin/python ]
# apt's own stays what it was.
/usr/bin/python3 -c 'import sys; assert "/opt" not in sys.prefix' 2>/dev/null || [ ! -e /usr/bin/python3 ]
python -c 'import ctypes, sqlite3, ssl, lzma, zlib; print(ssl.OPENSSL_VERSION)'
# A wheel, made by hand: pip installs it as the runner's user, without sudo and without being refused (PEP 668).
python - <<'PYTHON'
import zipfile
with zipfile.ZipFile("greet-1.0-py3-none-any.whl", "w") as wheel:
    wheel.writestr("greet.py", "def who(name):\n    return name.upper()\n")
    wheel.writestr("greet-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: greet\nVersion: 1.0\n")
    wheel.writestr("greet-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nGenerator: smoke\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
    wheel.writestr("greet-1.0.dist-info/RECORD", "greet.py,,\ngreet-1.0.dist-info/METADATA,,\ngreet-1.0.dist-info/WHEEL,,\ngreet-1.0.dist-info/RECORD,,\n")
PYTHON
pip install --quiet --no-index ./greet-1.0-py3-none-any.whl
[ "$(python -c 'import greet; print(greet.who("it"))')" = IT ]
# The headers for packages that compile.
echo '#include <Python.h>' >ext.c
gcc -fsyntax-only "-I$(python -c 'import sysconfig; print(sysconfig.get_path("include"))')" ext.c
python -m venv other
other/bin/python -c 'print("venv works")'
