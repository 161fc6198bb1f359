# Runs in the image, as its user, without network. What it prints first is the version.
gh --version | sed -n '1s/^gh version /gh /p'
git lfs version
zstd --version
[ "$(locale charmap)" = UTF-8 ]
locale -a | grep -qi '^en_US.utf-\?8$'
printf '#include <stdio.h>\nint main(void) { puts("compiled"); }\n' >hello.c
gcc hello.c -o hello
[ "$(./hello)" = compiled ]
echo packed >file
tar --zstd -cf file.tar.zst file
zip -q file.zip file
unzip -p file.zip | grep -q packed
# Only where the distribution has it, or it came from its release.
if [ "$SOURCE" = upstream ]; then docker compose version; fi
