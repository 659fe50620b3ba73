#!/bin/sh
# Makes the manual page of the command: packaging/man_page.sh UNETDUMP unetdump.1.in unetdump.1.gz
# What stands for @COMMANDS@ is made of the command's own --help, so that no option is missing or another one.
set -eu
command=$1
template=$2
page=$3

escaped='s/\\/\\e/g; s/-/\\-/g; s/^\([.'\'']\)/\\\&\1/'

# --help of one command: its usage as it stands, prose as a paragraph, "  -o, --option  text" as an item.
section() {
    printf '.SS %s\n' "$1"
    "$command" "$1" --help | sed "$escaped" | awk '
        /^usage: / { usage = 1; print ".EX"; print substr($0, 8); next }
        usage && /^       / { print substr($0, 8); next }
        usage { usage = 0; print ".EE" }
        /^$/ { print ".PP"; next }
        /^  / {
            text = substr($0, 3)
            at = match(text, /   *[^ ]/)
            print ".TP"
            print ".B \"" substr(text, 1, at - 1) "\""
            text = substr(text, at)
            sub(/^ */, "", text)
            gsub(/^[.'\'']/, "\\\\\\&&", text)
            print text
            next
        }
        { print }'
}

said=$(mktemp)
trap 'rm -f "$said"' EXIT
for name in $("$command" --help | sed -n 's/^  \([a-z]*\)  .*/\1/p'); do
    section "$name" >>"$said"
done
sed -e "s/@VERSION@/$("$command" --version | cut -d ' ' -f 2)/" -e "/^@COMMANDS@$/{r $said" -e 'd;}' "$template" | gzip -9n >"$page"
