# SPDX-License-Identifier: BSD-3-Clause
#
# The manual page of the protocol, from its specification:
#
#   awk -v version=VERSION -f proto-page.awk pmbroker.proto pmbroker-protocol.7.in >pmbroker-protocol.7
#
# @RULES@ in the second file becomes the paragraphs at the top of the first, @MESSAGES@ its messages and enumerations with
# their comments, @VERSION@ what it says. What is relied on of the first file is how it is written: a divider line begins
# a section; a comment that stands by itself belongs to what follows; one behind a field is the field's, and goes on in
# the lines below it as long as these are indented deeper than fields are.

# Words of the specification as roff: names in backticks are bold, and nothing is taken for a request.
function roff(text) {
    gsub(/\\/, "\\e", text)
    gsub(/×/, "\\(mu", text)
    gsub(/-1/, "\\\\-1", text)
    while (match(text, /`[^`]*`/))
        text = substr(text, 1, RSTART - 1) "\\fB" substr(text, RSTART + 1, RLENGTH - 2) "\\fR" \
            substr(text, RSTART + RLENGTH)
    sub(/^['.]/, "\\\\\\&&", text)
    return text
}

# One sentence, one line; the formatter joins them.
function paragraph(text) {
    gsub(/\. +/, ".\n", text)
    return roff(text) "\n"
}

function emit(text) { messages = messages text }

function flush_field() {
    if (field == "")
        return
    if (!in_list)
        emit(".PD 0\n")
    emit(field_text == "" ? ".PP\n" field "\n" : ".TP\n" field "\n" paragraph(field_text))
    in_list = 1
    field = field_text = ""
}

function end_list() {
    flush_field()
    if (in_list)
        emit(".PD\n")
    in_list = 0
}

# "type name = number" of a field, "NAME = number" of a value.
function set_field(number, name, type) {
    flush_field()
    field = "\\fB" number "\\fR \\fI" name "\\fR" (type == "" ? "" : " (" type ")")
}

FNR == 1 { n_files++ }

n_files == 2 {
    if ($0 == "@RULES@")
        printf "%s", rules
    else if ($0 == "@MESSAGES@")
        printf "%s", messages
    else {
        gsub(/@VERSION@/, version)
        print
    }
    next
}

# The rules: the comments before the syntax, from the first paragraph on that begins with a word in capitals, its title.
/^syntax/ { in_body = 1; next }
!in_body && /^\/\/$/ { paragraph_next = 1; next }
!in_body && /^\/\/ / {
    line = substr($0, 4)
    if (paragraph_next && match(line, /^[A-Z]+\. /)) {
        rules = rules ".SS " substr(line, 1, RLENGTH - 2) "\n"
        line = substr(line, RLENGTH + 1)
    } else if (paragraph_next && rules != "")
        rules = rules ".PP\n"
    paragraph_next = 0
    if (rules != "")
        rules = rules paragraph(line)
    next
}
!in_body { next }

# Dividers.
/^\/\/ ---/ {
    sub(/^\/\/ -+ */, "")
    emit(".SH " toupper($0) "\n")
    next
}

# A comment: of what follows, or the rest of the field's.
/^ *\/\/ / {
    match($0, /^ */)
    deep = RLENGTH
    line = $0
    sub(/^ *\/\/ */, "", line)
    if (field != "" && deep > 4)
        field_text = field_text " " line
    else {
        flush_field()
        comment = comment (comment == "" ? "" : " ") line
    }
    next
}

/^(message|enum) / {
    kind = $1
    emit(".SS " $2 (kind == "enum" ? " (enumeration)" : "") "\n" (comment == "" ? "" : paragraph(comment)))
    empty = comment == ""
    comment = ""
    next
}
/^ *oneof / {
    end_list()
    emit(".PP\nOne of:\n.br\n")
    next
}
/^ *}/ {
    end_list()
    if (empty)
        emit("It has no fields.\n")
    empty = 0
    next
}

/=/ {
    flush_field()
    if (comment != "") {
        end_list()
        emit(".PP\n" paragraph(comment) ".br\n")
        comment = ""
    }
    empty = 0
    text = ""
    if ((at = index($0, "//")) > 0) {
        text = substr($0, at + 2)
        sub(/^ */, "", text)
        gsub(/  +/, ": ", text)
        $0 = substr($0, 1, at - 1)
    }
    sub(/;.*/, "")
    n = split($0, word, " ")
    name = word[n - 2]
    type = n > 3 ? word[n - 3] : ""
    if (n > 4)
        type = word[1] " " type
    set_field(word[n], name, type)
    field_text = text
    next
}

/^$/ { next }
/^package / { next }
{
    print "proto-page.awk: " FILENAME ":" FNR ": not understood: " $0 >"/dev/stderr"
    exit 1
}
