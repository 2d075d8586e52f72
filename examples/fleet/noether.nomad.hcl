# SPDX-License-Identifier: MIT
# Workers as a Nomad job. By the book, not tried. The driver is raw_exec, so that
# the sandboxes of stages are made on the machine itself.
job "noether-worker" {
  type = "service"

  group "worker" {
    count = 4

    task "worker" {
      driver       = "raw_exec"
      user         = "noether"
      kill_signal  = "SIGTERM"
      kill_timeout = "90s"

      config {
        command = "/usr/bin/noether"
        args = [
          "worker", "--url-file", "${NOMAD_SECRETS_DIR}/fleet.url",
          "--key-file", "${NOMAD_SECRETS_DIR}/fleet.key",
          "--jobs", "4", "--drain", "60",
          "--metrics-file", "/var/lib/node_exporter/noether.prom",
        ]
      }

      template {
        destination = "${NOMAD_SECRETS_DIR}/fleet.url"
        perms       = "0400"
        data        = "{{ with nomadVar \"nomad/jobs/noether-worker\" }}{{ .url }}{{ end }}\n"
      }

      template {
        destination = "${NOMAD_SECRETS_DIR}/fleet.key"
        perms       = "0400"
        data        = "{{ with nomadVar \"nomad/jobs/noether-worker\" }}{{ .key }}{{ end }}\n"
      }

      resources {
        cores  = 4
        memory = 4096
      }
    }
  }
}
