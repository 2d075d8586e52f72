-- The parts that matter, of Debian's /etc/prosody/prosody.cfg.lua.
plugin_paths = { "/usr/local/lib/prosody/modules" }

VirtualHost "localhost"

Component "stages.localhost" "noether"
  noether_users = { "you@localhost" }
