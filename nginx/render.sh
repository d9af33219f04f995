#!/bin/sh
# Renders nginx/storekeeper.conf.template to standard output.
#
#   nginx/render.sh [FILE] > /etc/nginx/storekeeper.conf
#
# Values come from the environment, then from FILE, then from nginx/front.env.
# Only ${FRONT_...} is replaced, as envsubst would with that list of names; a
# variable the template wants and nobody gave is an error, not an empty string.
set -eu

here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)

# Keeps what the environment already says from being overwritten by the files.
given=$(env | sed -n 's/^\(FRONT_[A-Z_]*\)=.*/\1/p')
for name in $given; do
    eval "given_$name=\$$name"
done

set -a
. "$here/front.env"
if [ $# -gt 0 ]; then
    case $1 in
        */*) . "$1" ;;
        *) . "./$1" ;;
    esac
fi
for name in $given; do
    eval "$name=\$given_$name"
done
set +a

exec awk '
    {
        line = $0
        out = ""
        while (match(line, /\$\{FRONT_[A-Z_]+\}/)) {
            name = substr(line, RSTART + 2, RLENGTH - 3)
            if (!(name in ENVIRON)) {
                printf "render.sh: %s is not set (line %d of the template)\n", name, NR > "/dev/stderr"
                missing = 1
            }
            out = out substr(line, 1, RSTART - 1) ENVIRON[name]
            line = substr(line, RSTART + RLENGTH)
        }
        print out line
    }
    END { exit missing }
' "$here/storekeeper.conf.template"
