#!/usr/bin/env bash
# The gate of one pull request, or of a push: compares the checkout with the merge base of BASE, leaves a report, and ends
# with pytest's status.
set -uo pipefail

: "${BASE:=}" "${DEFAULT_BRANCH:=}"
: "${PYTHON:=python}" "${COLLECTED:=}" "${REPORT:=paritygate-report}" "${ARGUMENTS:=}" "${PULL_REQUEST:=}"

fail() { echo "::error title=paritygate::$2"; exit "$1"; }

mkdir -p "$REPORT"
rm -f "$REPORT/report.md" "$REPORT/report.json"   # what an earlier step has left is not this run's
printf '%s\n' "$PULL_REQUEST" > "$REPORT/pull_request"
# Git does not see the folder: with it, the checkout would be said to have uncommitted changes.
if ! git check-ignore -q "$REPORT/report.md" && exclude=$(git rev-parse --git-path info/exclude); then
  own="${REPORT#./}"
  mkdir -p "${exclude%/*}" && echo "/$(git rev-parse --show-prefix)${own%/}/" >> "$exclude"
fi

# The first push of a branch has no commit before it: compare with the default branch.
[[ "$BASE" =~ ^0*$ ]] && BASE="$DEFAULT_BRANCH"
[ -n "$BASE" ] || fail 14 "there is no base: this is neither a pull request nor a push, give the input base"
if ! git cat-file -e "$BASE^{commit}" 2>/dev/null; then
  git fetch --quiet --no-tags origin "$BASE" || fail 14 "base $BASE cannot be fetched"
  BASE=$(git rev-parse FETCH_HEAD)
fi
# A shallow clone (actions/checkout's default) holds no common ancestor yet: deepen until it does.
until merge_base=$(git merge-base HEAD "$BASE"); do
  if [ "$(git rev-parse --is-shallow-repository)" != true ]; then
    fail 14 "HEAD and $BASE have no common ancestor: there is nothing to compare with"
  fi
  git fetch --quiet --no-tags --deepen=100 origin HEAD "$BASE" || git fetch --quiet --unshallow || exit 14
done

# As a shell splits words, quotes included, but nothing is expanded and nothing is run.
words() { "$PYTHON" -c 'import shlex, sys; sys.stdout.write("".join(f"{w}\0" for w in shlex.split(sys.argv[1])))' "$1"; }
given="$COLLECTED $ARGUMENTS" arguments=()
words "$given" > /dev/null 2>&1 || fail 4 "the inputs path and arguments are not well quoted: $given"
while IFS= read -r -d '' word; do arguments+=("$word"); done < <(words "$given")

"$PYTHON" -m pytest ${arguments[@]+"${arguments[@]}"} --bench-against "$merge_base" \
  --bench-report "$REPORT/report.md" --bench-report "$REPORT/report.json"
status=$?

if [ ! -s "$REPORT/report.md" ]; then   # collection failed, or nothing was selected: not green, and not silent
  echo "**paritygate compared nothing** (status $status): see the log." > "$REPORT/report.md"
  [ -z "${GITHUB_STEP_SUMMARY:-}" ] || cat "$REPORT/report.md" >> "$GITHUB_STEP_SUMMARY"
  [ "$status" -ne 0 ] || status=14
fi
[ -z "${GITHUB_OUTPUT:-}" ] || echo "status=$status" >> "$GITHUB_OUTPUT"
exit "$status"
