# shellcheck shell=bash
# Whether programs are there, for the scripts that need them. Sourced.

# has PROGRAM…: whether each is there, and of use. (`command -v` with several names is content with one of them.)
has() {
  local program at
  for program; do
    at=$(command -v "$program") || return 1
    # It goes into images that have no libraries. That of Debian's package busybox is linked with some, that of
    # busybox-static is not.
    if [ "$program" = busybox ] && [[ "$(ldd "$at" 2>/dev/null)" == *'=>'* ]]; then
      return 1
    fi
  done
}
