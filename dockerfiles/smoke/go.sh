# Runs in the image, as its user, without network. What it prints first is the version.
go version
[ "$(go env GOROOT)" = "$(readlink -f /usr/local/go)" ] || [ "$(go env GOROOT)" = /usr/local/go ]
[ "$GOTOOLCHAIN" = local ]
go mod init example.com/hello 2>/dev/null
cat >hello.go <<'GO'
package main

// static int twice(int n) { return 2 * n; }
import "C"
import "fmt"

func main() { fmt.Println(C.twice(21)) }
GO
go vet .
go install .
[ "$(hello)" = 42 ]
