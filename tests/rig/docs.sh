#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# make docs: convert README.md, the pages in docs/ and the kernel-doc of the API to HTML, and
# the kernel-doc to manual pages, in DOCS=. Nothing may be missing or cause a warning, and the
# code in docs/porting.md must compile.

. "$(dirname "$0")/lib.sh"
. "$rig/packages.sh"

to=$(realpath -m "${DOCS:-$repo/docs/_build}")

main()
{
	local stock tree
	need "${packages_fetch[@]}" "${packages_module[@]}" "${packages_docs[@]}"
	stock=$("$rig/kernels.sh" stock "${KERNEL:-6.12}")
	tree=$("$rig/kernels.sh" newest)
	mkdir -p "$to"
	rm -rf "${to:?}"/{html,man}

	check_html
	check_man
	check_examples
	holds "docs: the tests that protocol.md names exist" tests_exist
	holds "docs: the make targets that the documents name exist" targets_exist
	[[ ! -d $to/html ]] || say "$to/html/index.html, $to/man"
}

# Print the names of the exported functions.
exports()
{
	sed -n 's/^EXPORT_SYMBOL_GPL(\(.*\));$/\1/p' "$repo"/*.c | sort
}

#
# HTML: the pages of docs/, and the page that "make patches" adds to a kernel tree, with the
# kernel's own extension for Sphinx. The order is that of the navigation.
#
pages=(porting debugging performance protocol legacy signing)
titles=("Porting a driver" "Debugging" "Performance" "The protocol" "Drivers of 2019" "Signing")

check_html()
{
	local name
	holds "docs: HTML without a warning" html
	for name in "${pages[@]}" api; do
		holds "docs: the navigation has $name" grep -q "toctree-l1.*href=\"$name.html\"" "$to/html/index.html"
	done
	holds "docs: each page in docs/ is in the navigation" all_pages
	holds "docs: no path of a kernel tree" no_kernel_path
	while read -r name; do
		holds "docs: HTML has $name()" grep -q "id=\"c.$name\"" "$to/html/api.html"
	done < <(exports)
}

html()
{
	"$rig/patches.sh" --base "$tree" "$work/linux" &&
		"$rig/graft.sh" "$work/linux" &&
		mkdir "$work/sphinx" &&
		site "$work/sphinx" &&
		conf_py >"$work/sphinx/conf.py" &&
		srctree=$tree sphinx-build -q -W --keep-going -b html -d "$work/doctrees" \
			"$work/sphinx" "$to/html" 2>&1 | tee "$work/html" &&
		! grep . "$work/html"
}

# site DIR: make the sources of the site. README.md is the first page. Adapt links, because in
# the repository the other pages are in a subdirectory, and a kernel tree has other paths.
site()
{
	local page
	{ sed 's,](docs/,](,g' "$repo/README.md" && toctree; } >"$1/index.md" &&
		for page in "${pages[@]}"; do
			sed 's,](\.\./README\.md),](index.md),g' "$repo/docs/$page.md" >"$1/$page.md"
		done &&
		sed -e 's/^hmm_mirror$/API/; s/^==========$/===/' -e 's,``mm/hmm_mirror/,``,' \
			"$work"/linux/Documentation/*/hmm_mirror.rst >"$1/api.rst" &&
		cp "$repo"/docs/*.svg "$1" &&
		mkdir "$1/_static" &&
		echo 'pre { font-size: 0.8em; }' >"$1/_static/site.css"
}

toctree()
{
	local i
	printf '%s\n' '' '```{toctree}' ':hidden:' ':maxdepth: 1' ''
	for i in "${!pages[@]}"; do
		echo "${titles[i]} <${pages[i]}>"
	done
	printf '%s\n' api '```'
}

conf_py()
{
	cat <<-END
		import sys
		sys.path.insert(0, "$tree/Documentation/sphinx")
		project = "hmm_mirror"
		version = release = "$(module_version)"
		extensions = ["kerneldoc", "myst_parser"]
		kerneldoc_srctree = "$work/linux"
		highlight_language = "none"
		html_theme = "alabaster"
		html_theme_options = {"page_width": "1200px", "body_max_width": "none",
		                      "fixed_sidebar": True, "show_powered_by": False}
		html_sidebars = {"**": ["about.html", "navigation.html", "localtoc.html",
		                        "searchbox.html"]}
		html_static_path = ["_static"]
		html_css_files = ["site.css"]
		html_copy_source = False
	END
}

all_pages()
{
	diff <(printf '%s\n' "${pages[@]}" | sort) <(cd "$repo/docs" && ls -- *.md | sed 's/\.md$//' | sort)
}

no_kernel_path()
{
	! grep -r --include='*.html' 'mm/hmm_mirror/' "$to/html"
}

#
# Manual pages, section 9
#
check_man()
{
	local name
	holds "docs: manual pages without a warning" man_pages
	holds "docs: groff has no warning for them" groff_is_silent
	while read -r name; do
		holds "docs: there is a manual page of $name()" \
			grep -q "^$name .. " "$to/man/man9/$name.9"
	done < <(exports)
}

man_pages()
{
	mkdir -p "$to/man/man9" &&
		cd "$repo" &&
		"$tree/scripts/kernel-doc" -Wall -Werror -man hmm_mirror.h hmm_*.c >"$work/man" &&
		split_man <"$work/man"
}

# A page begins with .TH "NAME" 9 "DATE" "." "MANUAL", where NAME can be "struct NAME", or
# the title of a DOC: section.
split_man()
{
	awk -F '"' -v to="$to/man/man9" -v version="$(module_version)" '
		/^\.TH / {
			name = tolower($2)
			sub(/^struct /, "", name)
			if (name !~ /^hmm_mirror/)
				name = "hmm_mirror_" name
			file = to "/" name ".9"
			printf ".TH \"%s\" 9 \"%s\" \"hmm_mirror %s\" \"%s\"\n",
				name, $4, version, $8 >file
			next
		}
		{ print >file }
	'
}

groff_is_silent()
{
	groff -man -Tutf8 -ww -z "$to"/man/man9/*.9 2>&1 | tee "$work/groff"
	! grep . "$work/groff"
}

#
# Code in the documentation: each block is a file of its own. A comment above a block excludes
# it: code for old kernels, and the files of README.md's driver, which vm_tests.sh builds.
#
check_examples()
{
	local built
	built=$("$rig/build.sh" "$stock")
	mkdir "$work/examples"
	cp "$repo"/tests/examples/* "$work/examples"
	code_blocks "$repo/README.md" "$repo/docs/porting.md"
	examples_kbuild >"$work/examples/Kbuild"
	holds "docs: docs/porting.md has code" test -e "$work/examples/porting_1.c"
	holds "docs: the code compiles without a warning" build_examples
}

code_blocks()
{
	awk -v to="$work/examples" '
		FNR == 1 {
			name = FILENAME
			gsub(/.*\/|\..*/, "", name)
			n = 0
		}
		/^```c$/ && before !~ /^<!-- (Linux|file:)/ {
			file = to "/" name "_" ++n ".c"
			print "#include \"examples.h\"" >file
			print "#line", FNR + 1, "\"" FILENAME "\"" >file
			before = $0
			next
		}
		/^```/ { file = "" }
		file { print >file }
		{ before = $0 }
	' "$@"
}

examples_kbuild()
{
	echo "ccflags-y := -I$repo"
	echo "obj-m := examples.o"
	echo "examples-y := $(cd "$work/examples" && printf '%s ' *.c | sed 's/\.c /.o /g')"
	echo "KBUILD_EXTRA_SYMBOLS := $built/Module.symvers"
}

build_examples()
{
	make -C "$stock/headers" M="$work/examples" W=1 modules 2>&1 | tee "$work/make" &&
		! grep -i 'warning' "$work/make"
}

# Check the tests in the table of invariants.
tests_exist()
{
	local name n=0 unknown=0
	while read -r name; do
		grep -qE "KUNIT_CASE\($name\)" "$repo"/tests/*.c ||
			grep -qw "SCENE_$name" "$repo/tests/model/scenes.pml" ||
			test -e "$repo/tests/litmus/$name.litmus" ||
			compgen -G "$repo/tests/mutants/$name-*.patch" >/dev/null ||
			{ echo "there is no test $name"; unknown=1; }
		n=$((n + 1))
	done < <(sed -n '/<!-- evidence -->/,/^$/p' "$repo/docs/protocol.md" | grep -o '`[^`]*`' | tr -d '`')
	((n && !unknown))
}

# Check the make targets in the code of all documents.
targets_exist()
{
	local target n=0 unknown=0
	while read -r target; do
		sed -n 's/^\.PHONY: //p' "$repo/Makefile" | tr ' ' '\n' | grep -qx -- "$target" ||
			{ echo "make $target"; unknown=1; }
		n=$((n + 1))
	done < <(grep -ohE '(^ {4}(sudo )?|   |`|&& )make [a-z][a-z-]*' "$repo"/{README,CONTRIBUTING,SECURITY}.md \
		"$repo"/docs/*.md | sed 's/.* //' | sort -u)
	((n && !unknown))
}

main
