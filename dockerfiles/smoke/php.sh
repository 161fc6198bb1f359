# Runs in the image, as its user, without network. What it prints first is the version.
# shellcheck disable=SC2016 # PHP's variables
php --version | sed -n '1s/ (.*//p'
composer --version --no-ansi | head -n 1
php -r 'foreach (["curl", "intl", "mbstring", "pdo_mysql", "pdo_sqlite", "dom", "zip"] as $e) {
    if (!extension_loaded($e)) { fwrite(STDERR, "no $e\n"); exit(1); } }'
php -r 'exit(extension_loaded("xdebug") ? 1 : 0);'
mkdir -p src
printf '%s\n' '{"autoload": {"psr-4": {"Acme\\": "src/"}}}' >composer.json
echo '<?php namespace Acme; class Greet { static function who(string $who): string { return mb_strtoupper($who); } }' >src/Greet.php
COMPOSER_DISABLE_NETWORK=1 composer dump-autoload --quiet --no-interaction
[ "$(php -r 'require "vendor/autoload.php"; echo Acme\Greet::who("é");')" = É ]
