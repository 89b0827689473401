/* SPDX-License-Identifier: MIT */
/* JSON on standard output, and text that comes from elsewhere made harmless. */
#include <stdio.h>
#include "dx.h"

#define ESCAPED_MAX 256 /* bytes of text that are shown */

static bool comma; /* something stands before the next element */

static void string(const char *s)
{
	putchar('"');
	for (const unsigned char *p = (const unsigned char *)s; *p; p++) {
		if (*p == '"' || *p == '\\')
			printf("\\%c", *p);
		else if (*p < 0x20 || *p >= 0x7f)
			printf("\\u%04x", *p);
		else
			putchar(*p);
	}
	putchar('"');
}

static void element(const char *key)
{
	if (comma)
		putchar(',');
	comma = true;
	if (key) {
		string(key);
		putchar(':');
	}
}

void json_open(const char *key, char bracket)
{
	element(key);
	putchar(bracket);
	comma = false;
}

void json_close(char bracket)
{
	putchar(bracket);
	comma = true;
}

void json_text(const char *key, const char *text)
{
	element(key);
	string(text);
}

void json_number(const char *key, uint64_t n)
{
	element(key);
	printf("%llu", (unsigned long long)n);
}

void json_bool(const char *key, bool b)
{
	element(key);
	fputs(b ? "true" : "false", stdout);
}

/* Ends a document: a program that reads line by line has it at once. */
void json_line(void)
{
	putchar('\n');
	output_flush();
	comma = false;
}

const char *escaped(const char *text)
{
	static char buffers[4][ESCAPED_MAX * 4 + 1];
	static unsigned next;
	char *buf = buffers[next++ % 4], *to = buf;

	for (const unsigned char *p = (const unsigned char *)text; *p; p++) {
		if (to + 4 >= buf + sizeof(buffers[0]))
			break;
		if (*p < 0x20 || *p >= 0x7f || *p == '\\')
			to += sprintf(to, "\\x%02x", *p);
		else
			*to++ = (char)*p;
	}
	*to = '\0';
	return buf;
}
