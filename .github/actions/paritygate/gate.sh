#!/usr/bin/env bash
# The gate of one pull request: compares the checkout with the merge base of BASE, leaves a report, ends with pytest's status.
set -uo pipefail

: "${BASE:?BASE is empty: outside a pull request give the input base}"
: "${PYTHON:=python}" "${COLLECTED:=bench}" "${REPORT:=paritygate-report}" "${ARGUMENTS:=}" "${PULL_REQUEST:=}"

mkdir -p "$REPORT"
rm -f "$REPORT/report.md" "$REPORT/report.json"   # what an earlier step has left is not this run's
printf '%s\n' "$PULL_REQUEST" > "$REPORT/pull_request"

if ! git cat-file -e "$BASE^{commit}" 2>/dev/null; then
  git fetch --quiet --no-tags origin "$BASE" || { echo "::error title=paritygate::base $BASE cannot be fetched"; exit 14; }
fi
# A shallow clone (actions/checkout's default) holds no common ancestor yet: deepen until it does.
until merge_base=$(git merge-base HEAD "$BASE"); do
  if [ "$(git rev-parse --is-shallow-repository)" != true ]; then
    echo "::error title=paritygate::HEAD and $BASE have no common ancestor: there is nothing to compare with"
    exit 14
  fi
  git fetch --quiet --no-tags --deepen=100 origin HEAD "$BASE" || git fetch --quiet --unshallow || exit 14
done

read -ra further <<< "$ARGUMENTS"
"$PYTHON" -m pytest "$COLLECTED" --bench-against "$merge_base" \
  --bench-report "$REPORT/report.md" --bench-report "$REPORT/report.json" ${further[@]+"${further[@]}"}
status=$?

if [ ! -s "$REPORT/report.md" ]; then   # collection failed, or nothing was selected: not green, and not silent
  echo "**paritygate compared nothing** (status $status): see the log." > "$REPORT/report.md"
  [ -z "${GITHUB_STEP_SUMMARY:-}" ] || cat "$REPORT/report.md" >> "$GITHUB_STEP_SUMMARY"
  [ "$status" -ne 0 ] || status=14
fi
[ -z "${GITHUB_OUTPUT:-}" ] || echo "status=$status" >> "$GITHUB_OUTPUT"
exit "$status"
