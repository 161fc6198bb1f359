# What a Dockerfile in this folder must hold to. Prints `file:line: what is wrong`, and ends with 1 if something is.
#
#   awk -v runner=1 -f dockerfiles/lint.awk dockerfiles/node/Dockerfile
#
# runner=1 adds what holds for an image of runners alone. Needs nothing but awk, unlike hadolint, which knows more.

function wrong(what) {
    printf "%s:%d: %s\n", FILENAME, began, what
    bad = 1
}

# One command of a RUN, without the commands before and after it.
function command(text) {
    if (text ~ /(^|[ \t(])apt[ \t]+(-[^ ]+[ \t]+)*(install|update|upgrade|remove)/) wrong("`apt` is for people: use apt-get")
    if (text ~ /apt-key/) wrong("apt-key trusts a key for every source: use /etc/apt/keyrings and signed-by")
    if (text ~ /apt-get[^;&|]* install/ && text !~ /--no-install-recommends/) wrong("apt-get install without --no-install-recommends")
    if (text ~ /apt-get[^;&|]* install/ && text !~ / (-y|--yes|-[a-z]*y[a-z]*) /) wrong("apt-get install without -y")
    if (text ~ /(^|[ \t(])curl[ \t]+(-|'|"|h)/) {
        if (text !~ /[ \t](-[A-Za-z]*f[A-Za-z]*|--fail)([ \t]|$)/) wrong("curl without -f takes a server's error for the file")
        if (text ~ /[ \t](-[A-Za-z]*k[A-Za-z]*|--insecure)([ \t]|$)/) wrong("curl without a check of the server's certificate")
        if (text !~ /https:|[$][{]?[a-z]/) wrong("curl without https")
    }
    if (text ~ /http:\/\//) wrong("a download without https")
    if (text ~ /chown[ \t]+-[A-Za-z]*R[^;&|]*[ \t]\/home\/runner([ \t]|$)/) wrong("a recursive chown of /home/runner doubles its size")
}

function run(text, parts, n, i) {
    if (text ~ /apt-get[^;&|]* install/ && text !~ /apt-get[^;&|]* update.*apt-get[^;&|]* install/) {
        wrong("apt-get install without apt-get update before it in the same RUN: it would install from old lists")
    }
    if (text ~ /apt-get[^;&|]* update/) {
        if (text !~ /apt-get[^;&|]* install/) wrong("apt-get update without apt-get install in the same RUN")
        if (text !~ /rm -rf [^;&]*\/var\/lib\/apt\/lists\/\*/) wrong("apt's lists stay in the layer: rm -rf /var/lib/apt/lists/*")
    }
    if (text ~ /(curl|wget)[ \t][^;&]*[|][ \t]*(sudo[ \t]+)?(ba|da|z)?sh([ \t]|$)/) wrong("what is downloaded runs unchecked")
    if (text ~ /(^|[ \t(])(curl|wget)[ \t]+(-|'|"|h)/) {
        if (text !~ /sha(256|512)sum [^;&|]*-c|gpg [^;&|]*--(verify|show-keys)/) wrong("a download that no checksum or key is held against")
        if (!pipefail) wrong("a download without `SHELL [..., \"-o\", \"pipefail\", ...]` before it")
    }
    n = split(text, parts, /;|&&|[|]+/)
    for (i = 1; i <= n; i++) command(parts[i] " ")
}

# A whole instruction, its continued lines joined.
function instruction(text, word, rest, name, value, reference) {
    word = toupper(text)
    sub(/[ \t].*/, "", word)
    rest = text
    sub(/^[^ \t]+[ \t]+/, "", rest)
    if (word == "ARG") {
        name = rest
        sub(/=.*/, "", name)
        value = rest
        if (!sub(/^[^=]*=/, "", value)) value = ""
        if (name ~ /TOKEN|SECRET|PASSWORD|PASSPHRASE|CREDENTIAL/) wrong("ARG " name ": what an ARG holds stays in the image's history")
        if (stages) {
            declared[name] = 1
        } else {
            outside[name] = 1
            fallback[name] = value
        }
        declares[name] = 1
        return
    }
    if (word == "FROM") {
        reference = rest
        sub(/^--platform=[^ \t]+[ \t]+/, "", reference)
        name = ""
        if (reference ~ /[ \t][Aa][Ss][ \t]/) {
            name = reference
            sub(/.*[ \t][Aa][Ss][ \t]+/, "", name)
        }
        sub(/[ \t].*/, "", reference)
        while (match(reference, /[$][{][A-Za-z_]+[}]/)) {
            value = substr(reference, RSTART + 2, RLENGTH - 3)
            if (!(value in outside)) wrong("FROM uses " value ", which no ARG before the first FROM has")
            reference = substr(reference, 1, RSTART - 1) fallback[value] substr(reference, RSTART + RLENGTH)
        }
        if (!(reference in stage) && reference != "scratch") {
            if (reference !~ /:[^\/]+$/) wrong("FROM " reference " has no tag")
            if (reference ~ /:latest/) wrong("FROM " reference ": latest is another image each day")
        }
        if (name != "") stage[name] = 1
        stages++
        split("", declared)
        pipefail = 0
        user = ""
        return
    }
    for (name in outside) {
        if (!(name in declared) && (index(text, "${" name "}") || index(text, "${" name ":"))) {
            wrong(name " is empty here: an ARG before FROM has to be declared again after it")
        }
    }
    if (word == "RUN") run(rest)
    if (word == "ADD" && rest ~ /https?:/) wrong("ADD of an address has no checksum: use curl and sha256sum")
    if (word == "SHELL") pipefail = rest ~ /pipefail/
    if (word == "USER") user = rest
    if (word == "ENV") environment = environment " " rest
    if (word == "LABEL") labels = labels " " rest
    if (runner && word ~ /^(ENTRYPOINT|CMD|WORKDIR|VOLUME|HEALTHCHECK)$/) wrong(word " is runnerfleet's and the base's: leave it out")
}

/^#[ \t]*syntax[ \t]*=/ && FNR == 1 { began = 1; wrong("`# syntax=` loads a builder from Docker Hub: closed networks have none") }
/^[ \t]*#/ { next }
/^[ \t]*$/ && whole == "" { next }
{
    if (whole == "") began = FNR
    line = $0
    more = sub(/\\[ \t]*$/, "", line)
    whole = whole line
    if (!more) {
        instruction(whole)
        whole = ""
    }
}

END {
    began = FNR
    if (whole != "") wrong("the last instruction does not end")
    if (!runner) exit bad
    if (user != "runner") wrong("the last USER is " (user == "" ? "not given" : user) ": it has to be runner")
    if (!("BASE_IMAGE" in outside)) wrong("no ARG BASE_IMAGE before FROM")
    if (!("SOURCE" in declares)) wrong("no ARG SOURCE")
    if (lang != "" && !(lang in declares)) wrong("no ARG " lang)
    if (environment ~ /DEBIAN_FRONTEND/) wrong("DEBIAN_FRONTEND is the base's")
    if (environment !~ /RUNNER_TOOL_CACHE=\/opt\/hostedtoolcache/) wrong("RUNNER_TOOL_CACHE is not set")
    if (environment !~ /AGENT_TOOLSDIRECTORY=\/opt\/hostedtoolcache/) wrong("AGENT_TOOLSDIRECTORY is not set")
    split("title description version base.name", wanted, " ")
    for (i in wanted) {
        if (!index(labels, "org.opencontainers.image." wanted[i] "=")) wrong("no label org.opencontainers.image." wanted[i])
    }
    exit bad
}
