# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# source_files: every file of the project, also in a copy without git; no build folders.
source_files() {
  if git rev-parse --git-dir >/dev/null 2>&1; then
    git ls-files --cached --others --exclude-standard | while read -r file; do
      if [ -f "$file" ]; then echo "$file"; fi
    done
  else
    find . -name '.?*' -prune -o -name 'build*' -prune -o -type f -print | sed 's|^\./||'
  fi | sort
}
