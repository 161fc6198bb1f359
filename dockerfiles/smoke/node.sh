# Runs in the image, as its user, without network. What it prints first is the version.
node --version
npm --version
[ "$(npm prefix --global)" = "$(readlink -f /opt/node)" ] || [ "$(npm prefix --global)" = /opt/node ]
mkdir package
echo '{"name": "greet", "version": "1.0.0", "bin": {"greet": "greet.js"}}' >package/package.json
printf '#!/usr/bin/env node\nconsole.log([1, 2, 3].map((n) => n * 2).join("-"));\n' >package/greet.js
# As the runner's user, into the image's own place.
npm install --global --offline --no-audit --no-fund ./package
[ "$(greet)" = 2-4-6 ]
