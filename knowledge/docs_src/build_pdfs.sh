#!/bin/sh
# Builds the PDFs in knowledge/docs/data from the HTML beside this script.
# Needs LibreOffice Writer, Noto Sans CJK, Liberation Sans, unzip and zip (Debian: libreoffice-writer fonts-noto-cjk
# fonts-liberation unzip zip).
# By way of ODT, because HTML cannot say that no space stands between Hangul and digits: Writer would draw "1 톤" for
# "1톤", and a reader of the PDF's text layer would then get the space too.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
out="$here/../docs/data"
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
office() { soffice --headless "-env:UserInstallation=file://$tmp/profile" "$@" >/dev/null 2>&1; }

for html in "$here"/*.html; do
    name=$(basename "$html" .html)
    office --infilter="HTML (StarWriter)" --convert-to odt:writer8 --outdir "$tmp" "$html"
    mkdir "$tmp/$name"
    (cd "$tmp/$name" && unzip -q "../$name.odt" styles.xml content.xml)
    sed -i 's/style:text-autospace="ideograph-alpha"/style:text-autospace="none"/g' \
        "$tmp/$name/styles.xml" "$tmp/$name/content.xml"
    (cd "$tmp/$name" && zip -q "../$name.odt" styles.xml content.xml)
    office --convert-to pdf:writer_pdf_Export --outdir "$out" "$tmp/$name.odt"
    echo "built $name.pdf"
done
