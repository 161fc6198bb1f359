# Runs in the image, as its user, without network. What it prints first is the version.
ruby --version
bundle --version
# A gem with C in it, made and installed as the runner's user.
mkdir -p ext/greet bin
cat >greet.gemspec <<'RUBY'
Gem::Specification.new do |s|
  s.name = "greet"
  s.version = "1.0"
  s.summary = "greets"
  s.author = "smoke"
  s.files = ["ext/greet/extconf.rb", "ext/greet/greet.c", "bin/greet"]
  s.extensions = ["ext/greet/extconf.rb"]
  s.bindir = "bin"
  s.executables = ["greet"]
end
RUBY
echo 'require "mkmf"; create_makefile("greet")' >ext/greet/extconf.rb
cat >ext/greet/greet.c <<'C'
#include <ruby.h>
static VALUE who(VALUE self) { return rb_str_new_cstr("compiled"); }
void Init_greet(void) { rb_define_global_function("who", who, 0); }
C
printf '#!/usr/bin/env ruby\nrequire "greet"\nputs who\n' >bin/greet
gem build --quiet greet.gemspec 2>/dev/null
gem install --quiet --local --no-document greet-1.0.gem
[ "$(greet)" = compiled ]
ruby -ropenssl -rpsych -rfiddle -rzlib -e 'puts OpenSSL::OPENSSL_LIBRARY_VERSION, Psych.dump(works: true)'
printf 'gem "greet"\n' >Gemfile
bundle install --local --quiet
[ "$(bundle exec greet)" = compiled ]
