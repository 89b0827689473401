/* SPDX-License-Identifier: MIT */
/* ISA extension names in and out: see isa_text.h. Every loop ends with the property it reads. */
#include <string.h>
#include "fdt/isa_text.h"

/* With their lengths, for each word of each hart is compared with all of them. */
#define X(id, name, kind) {name, sizeof(name) - 1},
static const struct name {
	const char *text;
	size_t len;
} names[ISA_COUNT] = {ISA_EXTENSIONS(X)};
#undef X

static char lower(char c)
{
	return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

/* `name` has `len` characters too, and is in lower case. */
static bool same_letters(const char *name, const char *text, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (name[i] != lower(text[i]))
			return false;
	return true;
}

static bool name_is(const char *name, const char *text, size_t len)
{
	return strlen(name) == len && same_letters(name, text, len);
}

static void add_extension(const char *text, size_t len, struct isa *isa)
{
	/* Two letters that stand for sets; Diosix keeps their members. */
	if (name_is("g", text, len))
		isa->exts |= BIT(ISA_I) | BIT(ISA_M) | BIT(ISA_A) | BIT(ISA_F) | BIT(ISA_D) |
			     BIT(ISA_ZICSR) | BIT(ISA_ZIFENCEI);
	if (name_is("b", text, len))
		isa->exts |= BIT(ISA_ZBA) | BIT(ISA_ZBB) | BIT(ISA_ZBS);
	for (unsigned i = 0; i < ISA_COUNT; i++)
		if (names[i].len == len && same_letters(names[i].text, text, len))
			isa->exts |= BIT(i);
}

void isa_parse_base(const char *text, size_t size, struct isa *isa)
{
	size_t len = strnlen(text, size);

	isa->xlen = name_is("rv64i", text, len) ? 64 : name_is("rv32i", text, len) ? 32 : 0;
}

void isa_parse_list(const char *list, size_t size, struct isa *isa)
{
	while (size > 0) {
		size_t len = strnlen(list, size);
		size_t step = MIN(len + 1, size);

		add_extension(list, len, isa);
		list += step;
		size -= step;
	}
}

/* The length without a version at the end: "zicbom1p0" is "zicbom", and so is "zicbom1". */
static size_t without_version(const char *text, size_t len)
{
	size_t n = len;

	while (n > 0 && is_digit(text[n - 1]))
		n--;
	if (n == len || n < 2 || lower(text[n - 1]) != 'p' || !is_digit(text[n - 2]))
		return n;
	for (n--; n > 0 && is_digit(text[n - 1]);)
		n--;
	return n;
}

/* How many characters of `text` are a version, "2p0" or "2", as it may follow a single letter. */
static size_t version_length(const char *text, size_t len)
{
	size_t n = 0;

	while (n < len && is_digit(text[n]))
		n++;
	if (n == 0 || n + 1 >= len || lower(text[n]) != 'p' || !is_digit(text[n + 1]))
		return n;
	for (n++; n < len && is_digit(text[n]);)
		n++;
	return n;
}

static size_t word_length(const char *text, size_t len)
{
	size_t n = 0;

	while (n < len && text[n] != '_')
		n++;
	return n;
}

/* Takes one extension, or one separator, off the front; returns how many characters it was. */
static size_t parse_one(const char *text, size_t len, bool after_separator, struct isa *isa)
{
	char c = lower(text[0]);
	size_t n;

	if (c == '_')
		return 1;
	/* Old QEMUs end the single letters with "su", the modes: no multi-letter extension starts
	 * there. */
	if (c == 's' && !after_separator && len > 1 && lower(text[1]) == 'u')
		return 2;
	if (c == 's' || c == 'x' || c == 'z') {
		n = word_length(text, len);
		add_extension(text, without_version(text, n), isa);
		return n;
	}
	add_extension(text, 1, isa);
	return 1 + version_length(text + 1, len - 1);
}

void isa_parse_string(const char *text, size_t size, struct isa *isa)
{
	size_t len = strnlen(text, size);

	isa->xlen = 0;
	if (len < 5 || !(name_is("rv64", text, 4) || name_is("rv32", text, 4)))
		return;
	isa->xlen = text[2] == '6' ? 64 : 32;
	for (size_t i = 4; i < len;)
		i += parse_one(text + i, len - i, text[i - 1] == '_', isa);
	if (isa_has(isa, ISA_I))
		isa->exts |= BIT(ISA_ZICSR) | BIT(ISA_ZIFENCEI);
}

size_t isa_write_list(const struct isa *isa, char buf[ISA_TEXT_SIZE])
{
	size_t n = 0;

	for (unsigned i = 0; i < ISA_COUNT; i++)
		if (isa->exts & BIT(i)) {
			memcpy(buf + n, names[i].text, names[i].len + 1);
			n += names[i].len + 1;
		}
	return n;
}

size_t isa_write_string(const struct isa *isa, char buf[ISA_TEXT_SIZE])
{
	size_t n = 4;

	memcpy(buf, isa->xlen == 32 ? "rv32" : "rv64", n);
	for (unsigned i = 0; i < ISA_COUNT; i++)
		if (isa->exts & BIT(i)) {
			if (names[i].len > 1)
				buf[n++] = '_';
			memcpy(buf + n, names[i].text, names[i].len);
			n += names[i].len;
		}
	buf[n++] = '\0';
	return n;
}
