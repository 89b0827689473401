/* SPDX-License-Identifier: MIT */
/*
 * The console of a child: two rings between it and its parent. If this fails, bytes are lost or
 * come twice, a parent hears nothing, or a child that was refused waits for ever.
 */
#include "world.h"

static struct vm *child;
static uint32_t handle;

static int start(void **state)
{
	struct dx_create c = empty_of(4);

	new_machine(1024, 512, 4);
	assert_int_equal(make_empty(root_vm, &c, &handle), OK);
	child = child_of(root_vm, handle);
	machine_text_size = 0;
	return 0;
}

static uint64_t told(uint32_t events)
{
	return (uint64_t)events << 32 | handle;
}

static size_t writes(const void *text, size_t n)
{
	return vconsole_write(child, text, n);
}

static size_t takes(void *text, size_t n)
{
	return vconsole_take(child, child->console, text, n);
}

static void the_root_vm_has_the_machines(void **state)
{
	uint8_t buf[4] = {0};

	assert_null(root_vm->console);
	assert_int_equal(vconsole_write(root_vm, (const uint8_t *)"abc", 3), 3);
	assert_memory_equal(machine_text, "abc", 3);
	assert_int_equal(vconsole_read(root_vm, buf, 2), 2);
	assert_memory_equal(buf, "mm", 3);
	assert_int_equal(event_take(root_vm), 0);
}

static void what_a_child_writes_its_parent_takes(void **state)
{
	uint8_t buf[16] = {0};
	uint64_t before = frame_of(ptr_hpa(child->console))->payer;

	assert_int_equal(before, child->id); /* its own to pay */
	assert_int_equal(writes("hello", 5), 5);
	assert_int_equal(writes(", you", 5), 5);
	assert_int_equal(machine_text_size, 0);
	assert_int_equal(event_take(root_vm), told(DX_EVENT_CONSOLE)); /* once */
	assert_int_equal(event_take(root_vm), 0);
	assert_int_equal(takes(buf, 7), 7);
	assert_int_equal(takes(buf + 7, 9), 3);
	assert_string_equal((char *)buf, "hello, you");
	assert_int_equal(takes(buf, 9), 0);
	assert_int_equal(writes("", 0), 0);
	assert_int_equal(event_take(root_vm), 0);
}

static void what_a_parent_gives_its_child_reads(void **state)
{
	uint8_t buf[16] = {0};

	child->dbcn_reads = true; /* else the emulated UART has it */
	assert_int_equal(vconsole_read(child, buf, 16), 0);
	assert_int_equal(vconsole_give(child, (const uint8_t *)"ls\n", 3), 3);
	assert_int_equal(event_take(child), (uint64_t)DX_EVENT_CONSOLE << 32); /* of its own */
	assert_true(child->plic.level[0] == 0 && event_take(child) == 0);
	assert_int_equal(vconsole_read(child, buf, 2), 2);
	assert_int_equal(vconsole_read(child, buf + 2, 2), 1);
	assert_string_equal((char *)buf, "ls\n");
	assert_int_equal(event_take(root_vm), 0); /* nobody waits for room */
}

/* The emulated UART and the console are one. */
static void the_uart_reads_and_writes_it(void **state)
{
	uint8_t buf[4];

	vuart_access(&child->uart, 0, true, 'x');
	assert_int_equal(takes(buf, 4), 1);
	assert_int_equal(buf[0], 'x');
	assert_int_equal(vconsole_give(child, (const uint8_t *)"y", 1), 1);
	assert_int_equal(vuart_access(&child->uart, 5, false, 0) & 1, 1);
	assert_int_equal(vuart_access(&child->uart, 0, false, 0), 'y');
}

static size_t fill_up(void)
{
	uint8_t byte = 0;
	size_t n;

	for (n = 0; writes(&byte, 1) == 1; n++) {
		byte++;
		assert_true(n < PAGE_SIZE);
	}
	return n;
}

/* A full ring takes no more, and the one who was refused hears of room: once. */
static void a_full_console_says_when_there_is_room(void **state)
{
	static uint8_t buf[PAGE_SIZE];
	size_t n = fill_up();

	assert_in_range(n, 1024, PAGE_SIZE);
	while (event_take(root_vm) || event_take(child))
		;
	assert_int_equal(writes("abc", 3), 0);
	assert_int_equal(event_take(root_vm), 0); /* nothing was added */
	assert_int_equal(takes(buf, 10), 10);
	assert_int_equal(event_take(child), (uint64_t)DX_EVENT_CONSOLE << 32);
	assert_int_equal(takes(buf + 10, 10), 10);
	assert_int_equal(event_take(child), 0); /* nobody was refused since */
	assert_int_equal(writes(buf, 30), 20);  /* a part */
	assert_int_equal(takes(buf + 20, sizeof(buf) - 20), n);
	assert_int_equal(event_take(child), (uint64_t)DX_EVENT_CONSOLE << 32);
	for (size_t i = 0; i < n; i++)
		assert_int_equal(buf[i], (uint8_t)i);
	for (size_t i = 0; i < 20; i++) /* round the end of the ring */
		assert_int_equal(buf[n + i], (uint8_t)i);
}

static void a_parent_that_was_refused_hears_of_room(void **state)
{
	static uint8_t buf[PAGE_SIZE];
	size_t n;

	child->dbcn_reads = true;
	n = vconsole_give(child, buf, sizeof(buf));
	assert_in_range(n, 512, PAGE_SIZE - 1);
	assert_int_equal(event_take(root_vm), 0);
	assert_int_equal(vconsole_read(child, buf, 1), 1);
	assert_int_equal(event_take(root_vm), told(DX_EVENT_ROOM));
	assert_int_equal(vconsole_read(child, buf, 1), 1);
	assert_int_equal(event_take(root_vm), 0);
	while (vconsole_read(child, buf, 100))
		;
	assert_int_equal(event_take(root_vm), 0);
}

/* What its UART could not send goes on when the parent has taken something. */
static void a_uart_that_was_refused_goes_on(void **state)
{
	static uint8_t buf[PAGE_SIZE];
	size_t n = fill_up();

	vuart_access(&child->uart, 0, true, 'z');
	assert_int_equal(vuart_access(&child->uart, 5, false, 0) & 0x40, 0); /* not sent */
	assert_int_equal(takes(buf, n), n);
	assert_int_equal(vuart_access(&child->uart, 5, false, 0) & 0x60, 0x60);
	assert_int_equal(takes(buf, 2), 1);
	assert_int_equal(buf[0], 'z');
}

static void last_words_can_be_read(void **state)
{
	uint8_t buf[8] = {0};
	struct vconsole *c = child->console;

	assert_int_equal(writes("bye", 3), 3);
	spin_lock(&tree_lock);
	vm_kill(child, DX_REASON_EXIT, 3);
	spin_unlock(&tree_lock);
	while (!bury_step(child))
		;
	struct child *slot = tree_slot(root_vm, handle);

	assert_true(slot && !slot->vm && slot->console == c);
	assert_int_equal(frame_of(ptr_hpa(c))->payer, root_vm->id);
	assert_int_equal(event_take(root_vm), told(DX_EVENT_CONSOLE | DX_EVENT_STATE));
	assert_int_equal(vconsole_take(NULL, c, buf, 8), 3);
	assert_string_equal((char *)buf, "bye");
	uint64_t before = root_vm->quota.own[RES_PAGES];

	spin_lock(&tree_lock);
	tree_reap(root_vm, slot);
	spin_unlock(&tree_lock);
	assert_int_equal(root_vm->quota.own[RES_PAGES], before - 1);
	assert_int_equal(frames_free(), 1024 - before + 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(the_root_vm_has_the_machines, start),
		cmocka_unit_test_setup(what_a_child_writes_its_parent_takes, start),
		cmocka_unit_test_setup(what_a_parent_gives_its_child_reads, start),
		cmocka_unit_test_setup(the_uart_reads_and_writes_it, start),
		cmocka_unit_test_setup(a_full_console_says_when_there_is_room, start),
		cmocka_unit_test_setup(a_parent_that_was_refused_hears_of_room, start),
		cmocka_unit_test_setup(a_uart_that_was_refused_goes_on, start),
		cmocka_unit_test_setup(last_words_can_be_read, start),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
