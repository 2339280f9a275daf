#!/usr/bin/env bash
# Builds the worker's and the service's image from the Dockerfile as it stands and looks whether they are what they
# should be, without any image registry: the images it starts FROM are stood in for by Debian's own packages
# (debootstrap) and Node's binary from npm, tagged with the names that the Dockerfile uses. Debian, root, buildah and
# debootstrap are needed, and a `porter` linked against a C library no newer than bookworm's.
#
#   worker-image/try.sh [PORTER]     PORTER: the binary to put in, target/release/porter by default
#
# The stand-ins and the layers stay in target/worker-image, so that a second run takes seconds; remove that folder
# after a change of the machine's package sources. The image stays, too: run-in-image.sh runs it.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
# shellcheck source=worker-image/store.sh
source "$root/worker-image/store.sh"
dockerfile=$root/worker-image/Dockerfile
scratch=$root/target/worker-image
porter=${1:-$root/target/release/porter}
porter_image=localhost/porter-binary
service_image=localhost/porter-service

# The names that the Dockerfile builds on, and what they say.
debian_image=$(sed -n 's/^FROM \(debian:[^ ]*\) .*/\1/p' "$dockerfile")
node_image=$(sed -n 's/^FROM \(node:[^ ]*\) .*/\1/p' "$dockerfile")
suite=${debian_image#debian:}
suite=${suite%-slim}
node_major=${node_image#node:}
node_major=${node_major%%-*}

# This machine's sources of Debian packages for the suite, a one-line-style entry each; empty where there are none.
debian_sources() {
    # shellcheck disable=SC2016 # $(…) is apt's own notation
    apt-get indextargets --format '$(ORIGIN) $(REPO_URI) $(RELEASE) $(COMPONENT)' 'Created-By: Packages' |
        sed -n "s/^Debian \(.* $suite\(-.*\)\? .*\)/deb \1/p" | sort -u
}

# A minimal Debian that fetches packages from where this machine does.
make_debian() {
    local sources mirror container tree
    sources=$(debian_sources)
    mirror=$(awk -v suite="$suite" '$3 == suite { print $2; exit }' <<<"$sources")
    container=$(store from scratch)
    tree=$(store mount "$container")
    # Without a mirror of its own debootstrap knows one.
    debootstrap --variant=minbase "$suite" "$tree" ${mirror:+"$mirror"} >"$scratch/debootstrap.log" || {
        tail "$scratch/debootstrap.log" >&2
        return 1
    }
    if [[ -n $sources ]]; then
        echo "$sources" >"$tree/etc/apt/sources.list"
    fi
    apt-config dump | grep -E '^Acquire::https?::Proxy' >"$tree/etc/apt/apt.conf.d/50machine" || true
    rm -rf "$tree"/var/cache/apt/archives/*.deb "$tree"/var/lib/apt/lists/*
    store umount "$container" >/dev/null
    store config --cmd bash "$container"
    store commit --quiet --rm "$container" "localhost/$debian_image" >/dev/null
}

# The same with Node and npm where Node's image has them, its user `node`, and this machine's way to the npm registry.
make_node() {
    local container tree architecture packed setting value
    container=$(store from --pull-never "localhost/$debian_image")
    tree=$(store mount "$container")
    case $(uname -m) in
    x86_64) architecture=x64 ;;
    aarch64) architecture=arm64 ;;
    *) echo "no Node binary for $(uname -m)" >&2 && return 1 ;;
    esac
    packed=$(mktemp -d "$scratch/node.XXXXXX")
    npm pack --silent --pack-destination "$packed" "node-linux-$architecture@$node_major" npm@11 >/dev/null
    tar -xzf "$packed"/node-linux-*.tgz -C "$tree/usr/local" --strip-components=1 package/bin/node
    mkdir -p "$tree/usr/local/lib/node_modules/npm" "$tree/usr/local/etc"
    tar -xzf "$packed"/npm-*.tgz -C "$tree/usr/local/lib/node_modules/npm" --strip-components=1
    ln -s ../lib/node_modules/npm/bin/npm-cli.js "$tree/usr/local/bin/npm"
    for setting in registry proxy https-proxy noproxy; do
        value=$(npm config get "$setting" 2>/dev/null)
        [[ -z $value || $value == null ]] || echo "$setting=$value"
    done >"$tree/usr/local/etc/npmrc"
    value=$(npm config get cafile 2>/dev/null)
    if [[ -f $value ]]; then
        cp "$value" "$tree/usr/local/etc/npm-ca.pem"
        echo "cafile=/usr/local/etc/npm-ca.pem" >>"$tree/usr/local/etc/npmrc"
    fi
    rm -rf "$packed"
    store umount "$container" >/dev/null
    store run "$container" -- useradd --create-home --uid 1000 --shell /bin/bash node
    store commit --quiet --rm "$container" "localhost/$node_image" >/dev/null
}

# The binary alone, as the Dockerfile's PORTER_FROM wants it.
make_porter() {
    local container
    container=$(store from scratch)
    store copy --quiet "$container" "$porter" /usr/local/bin/porter >/dev/null
    store commit --quiet --rm "$container" "$porter_image" >/dev/null
}

# build TARGET NAME: a target of the Dockerfile.
build() {
    store build --quiet --layers --pull-never --file "$dockerfile" --build-arg "PORTER_FROM=$porter_image" \
        --target "$1" --tag "$2" "$root" >/dev/null
}

# pinned PACKAGE: the version of an npm package in the Dockerfile, as a pattern.
pinned() {
    sed -n "s|^ *$1@\([^ ]*\) .*|\1|p" "$dockerfile" | sed 's/\./\\./g'
}

# expect WHAT PATTERN COMMAND…: the command, in the container, prints a line that matches.
expect() {
    local what=$1 pattern=$2 seen
    shift 2
    # A command that ends at once may end before buildah has begun to pass its output on: then there is none.
    for _ in 1 2 3; do
        seen=$(store run "$@" 2>&1) || true
        [[ -z $seen ]] || break
    done
    if ! grep -Eq -- "$pattern" <<<"$seen"; then
        printf '  wrong: %s\n  expected a line matching: %s\n  seen:\n%s\n' "$what" "$pattern" "$seen" >&2
        return 1
    fi
    printf '  %-28s %s\n' "$what" "$(grep -Em1 -- "$pattern" <<<"$seen")"
}

check_worker() {
    local container as_agent
    container=$(store from --pull-never "$worker_image")
    as_agent=(--user agent --workingdir /home/agent --env HOME=/home/agent "$container" --)
    expect "the agent's user" '^uid=[1-9][0-9]*\(agent\)' "${as_agent[@]}" id
    expect "Claude Code" "^$(pinned @anthropic-ai/claude-code) " "${as_agent[@]}" claude --version
    expect "OpenCode" "^$(pinned opencode-ai)$" "${as_agent[@]}" opencode --version
    expect "Amp" "^$(pinned @ampcode/cli) " "${as_agent[@]}" amp --version
    expect "Node" '^v(2[2-9]|[3-9][0-9])\.' "${as_agent[@]}" node --version
    expect "git" '^git version' "${as_agent[@]}" git --version
    expect "certificates" '^BEGIN' "${as_agent[@]}" sed -n '1s/-//gp' /etc/ssl/certs/ca-certificates.crt
    # shellcheck disable=SC2016 # for the shell in the container
    expect "no way to become root" '^none$' "${as_agent[@]}" \
        bash -c 'f=$(find / -xdev -type f -perm /6000 2>/dev/null); echo "${f:-none}"'
    # shellcheck disable=SC2016
    expect "nothing to overwrite" '^none$' "${as_agent[@]}" \
        bash -c 'f=$(find /usr /opt /etc /workspace -xdev ! -type l -writable 2>/dev/null | head -3)
                 echo "${f:-none}"'
    expect "the worker's binary" '^porter [0-9]' "$container" -- porter --version
    expect "a job with nothing in it" 'TASK_ID' "$container" -- /usr/local/bin/entrypoint.sh
    store rm "$container" >/dev/null
}

check_service() {
    local container
    container=$(store from --pull-never "$service_image")
    expect "the service's binary" '^porter [0-9]' "$container" -- /usr/local/bin/service-entrypoint.sh --version
    expect "its user and volume" '^porter$' "$container" -- stat --format=%U /data
    expect "an empty configuration" 'PUBLIC_APP_URL' "$container" -- /usr/local/bin/service-entrypoint.sh serve
    store rm "$container" >/dev/null
}

step() {
    local started=$SECONDS
    "${@:2}"
    printf '%s (%d s)\n' "$1" $((SECONDS - started))
}

[[ -x $porter ]] || { echo "no binary at $porter: cargo build --release" >&2 && exit 1; }
[[ $EUID -eq 0 ]] || { echo "buildah's chroot isolation and debootstrap need root" >&2 && exit 1; }
mkdir -p "$scratch"
exec 9>"$in_use"
flock --exclusive --nonblock 9 || { echo "a worker is running in the image, or another try" >&2 && exit 1; }
# What a run that was broken off has left; and at the end nothing is left running or mounted.
store rm --all >/dev/null
rm -rf "$TMPDIR"
mkdir "$TMPDIR"
trap 'store rm --all >/dev/null' EXIT

store inspect --type image "localhost/$debian_image" >/dev/null 2>&1 || step "a stand-in for $debian_image" make_debian
store inspect --type image "localhost/$node_image" >/dev/null 2>&1 || step "a stand-in for $node_image" make_node
step "an image with $(basename "$porter")" make_porter
step "$worker_image is built" build worker "$worker_image"
step "$service_image is built" build service "$service_image"
step "the worker's image is right" check_worker
step "the service's image is right" check_service
# Layers of images that were here before.
store rmi --prune >/dev/null
