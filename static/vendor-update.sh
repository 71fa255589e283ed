#!/bin/sh
# Fetches the vendored browser files again as static/vendor/VENDOR.txt names
# them. Only maintainers need it, and Node's npm; a build needs neither.
#
# To move to another version: change the version in VENDOR.txt, write "-" for
# its checksum (the registry's answer is then believed and written down, so look
# at it), run this script, read the diff, run `go test ./static`.
set -eu

cd "$(dirname "$0")/vendor"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p LICENSES
: >"$work/VENDOR.txt"

while IFS= read -r line; do
	# shellcheck disable=SC2086 # the columns of the manifest hold no blanks
	set -- $line
	case "${1:-}" in
	package) # package NAME VERSION LICENCE SRI
		name=$2 version=$3 licence=$4 sri=$5
		tarball=$(cd "$work" && npm pack --silent "$name@$version")
		got="sha512-$(openssl dgst -sha512 -binary "$work/$tarball" | base64 -w0)"
		if [ "$sri" != "-" ] && [ "$sri" != "$got" ]; then
			echo "vendor-update: $name@$version has checksum $got, VENDOR.txt says $sri" >&2
			exit 1
		fi
		rm -rf "$work/package"
		tar -xzf "$work/$tarball" -C "$work"
		cp "$work/package/LICENSE" "LICENSES/$(printf %s "$name" | tr -d @ | tr / -).txt"
		echo "package $name $version $licence $got" >>"$work/VENDOR.txt"
		;;
	file) # file STORED PATH-IN-TARBALL SHA256
		stored=$2 path=$3
		mkdir -p "$(dirname "$stored")"
		case "$stored" in
		*.woff2) cp "$work/package/$path" "$stored" ;;
		# DevTools would ask for source maps, which are not served.
		*) sed -e '/^\/\/# sourceMappingURL=/d' "$work/package/$path" >"$stored" ;;
		esac
		echo "file $stored $path $(sha256sum "$stored" | cut -d' ' -f1)" >>"$work/VENDOR.txt"
		;;
	*)
		printf '%s\n' "$line" >>"$work/VENDOR.txt"
		;;
	esac
done <VENDOR.txt

chmod 644 "$work/VENDOR.txt"
mv "$work/VENDOR.txt" VENDOR.txt
