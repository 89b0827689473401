/* SPDX-License-Identifier: MIT */
/*
 * If this fails: hardware trust outlives DROP_TRUST, on some hart or by some call; a child has it
 * that should not; a VM without it has a hold on a child that has it; or a fork is told of devices
 * that it has not: faults where Linux expects none, or more than ghosts.
 */
#include "guest.h"

#define FAR   (1ul << 40) /* a GPA where nothing else is */
#define DIRTY 64ul        /* pages */
#define RAM   MIB(2)

static const struct device *disk, *other;
static uint8_t dirty[DIRTY][PAGE] __attribute__((aligned(PAGE)));
static uint8_t buffer[MIB(1) / 8] __attribute__((aligned(PAGE)));

static void drop(void)
{
	check_err("drop trust", dx(DX_FID_DROP_TRUST, 0, 0, 0), SBI_SUCCESS);
}

static bool trusted(uint64_t handle)
{
	return dx_info(handle)->trusted;
}

static void idle(void)
{
	for (;;)
		__asm__ volatile("wfi");
}

static void run(const char *name, void (*fn)(uint64_t))
{
	struct dx_end e = dx_end(dx_spawn(fn, 0));

	check_eq(name, e.reason, DX_REASON_EXIT);
	if (e.reason == DX_REASON_EXIT)
		checks_add(e.code);
}

/* --- what is gone afterwards --- */

static void unreachable(const char *name, uint64_t at)
{
	struct trap l = try_load(at, 4), s = try_store(at, 4, 0);

	check_eq_at(name, at, outcome(l), TRAP(LOAD_ACCESS));
	check_eq_at(name, at, outcome(s), TRAP(STORE_ACCESS));
	check(name, l.tval == at && s.tval == at);
}

static void refused(void)
{
	check("INFO tells that there is no trust", !trusted(DX_SELF));
	check_err("map", dx(DX_FID_MMIO_MAP, disk->base, PAGE, disk->base), SBI_DENIED);
	check_err("route", dx(DX_FID_IRQ_ROUTE, disk->irq, 0, 0), SBI_DENIED);
	check_err("pin", dx(DX_FID_DMA_PIN, (uintptr_t)dirty, 0, 0), SBI_DENIED);
	check_err("unmap", dx(DX_FID_MMIO_UNMAP, disk->base, PAGE, 0), DX_ERR_NOENT);
	check_err("unroute", dx(DX_FID_IRQ_UNROUTE, disk->irq, 0, 0), DX_ERR_NOENT);
	check_err("fork with trust", dx_fork_try(dx_fork_options(DX_TRUST)), SBI_DENIED);
	struct dx_create *c = dx_create_options(1, RAM);

	c->flags = DX_TRUST;
	check_err("create with trust", dx(DX_FID_CREATE, (uintptr_t)c, 0, 0), SBI_DENIED);
}

static void drop_all(uint64_t arg)
{
	(void)arg;
	checks_begin();
	device_take(disk);
	check_err("the same page again", dx(DX_FID_MMIO_MAP, disk->base, PAGE, FAR), SBI_SUCCESS);
	check_err("route", dx(DX_FID_IRQ_ROUTE, disk->irq, 0, 0), SBI_SUCCESS);
	check_eq("the device", get32(disk->base), MAGIC);
	check_eq("the device", get32(FAR), MAGIC);
	for (unsigned i = 0; i < 3; i++) { /* for good, and as often as one likes */
		drop();
		unreachable("after the drop", disk->base);
		unreachable("after the drop", FAR);
		refused();
	}
	dx_exit(checks_end());
}

/* What another VM held is free, whatever became of that VM. */
static void check_free(const struct device *d)
{
	check_err("the device is free", dx(DX_FID_MMIO_MAP, d->base, PAGE, d->base), SBI_SUCCESS);
	check_err("its interrupt is free", dx(DX_FID_IRQ_ROUTE, d->irq, 0, 0), SBI_SUCCESS);
	check_eq("the device answers", get32(d->base), MAGIC);
	check_eq("it is quiet", get32(d->base + VIRTIO_STATUS), 0);
	device_release(d);
}

/* Free while the VM that had it lives on, too. */
static void test_drop(void)
{
	run("a VM that drops its trust", drop_all);
	check_free(disk);
}

static void hold_and_drop(uint64_t arg)
{
	(void)arg;
	device_take(disk);
	dx(DX_FID_IRQ_ROUTE, disk->irq, 0, 0);
	put32(disk->base + VIRTIO_STATUS, 1);
	dx(DX_FID_DROP_TRUST, 0, 0, 0);
	say("dropped");
	idle();
}

static void test_free_at_once(void)
{
	uint64_t child = dx_spawn(hold_and_drop, 0);

	while (!dx(DX_FID_CONSOLE_READ, child, (uintptr_t)buffer, 16).value)
		dx_rest(0);
	check("the child's trust", !trusted(child));
	check_free(disk);
	dx(DX_FID_KILL, child, 0, 0);
	dx_end(child);
}

/* --- at once, on all harts --- */

static volatile bool dropping, dropped;
static volatile uint64_t turns[MAX_HARTS], early, late;

static void wrong(volatile uint64_t *count)
{
	__atomic_fetch_add(count, 1, __ATOMIC_RELAXED);
}

/* Accesses until one fails. Each that began when DROP_TRUST had returned must. */
static void hammer_access(struct hart *h, bool store)
{
	bool taken, after;

	do {
		after = __atomic_load_n(&dropped, __ATOMIC_SEQ_CST);
		__asm__ volatile("fence" ::: "memory");
		taken = (store ? try_store(disk->base + VIRTIO_IRQ_ACK, 4, 0)
			       : try_load(disk->base, 4))
				.taken;
		turns[h->id]++;
	} while (!taken && !after);
	if (!taken)
		wrong(&late);
	else if (!dropping)
		wrong(&early);
}

static void hammer_load(struct hart *h)
{
	hammer_access(h, false);
}

static void hammer_store(struct hart *h)
{
	hammer_access(h, true);
}

/* A call that needs trust, and its opposite, until it is refused. */
static void hammer_call(struct hart *h, uint64_t call, uint64_t opposite, uint64_t a0, uint64_t a2)
{
	struct sbiret r;
	bool after;

	do {
		after = __atomic_load_n(&dropped, __ATOMIC_SEQ_CST);
		r = dx(call, a0, PAGE, a2);
		if (r.error == 0)
			dx(opposite, a0, PAGE, 0);
		turns[h->id]++;
	} while (r.error == 0 && !after);
	if (r.error != SBI_DENIED)
		wrong(&late);
	else if (!dropping)
		wrong(&early);
}

static void hammer_map(struct hart *h)
{
	hammer_call(h, DX_FID_MMIO_MAP, DX_FID_MMIO_UNMAP, other->base, other->base);
}

static void hammer_route(struct hart *h)
{
	hammer_call(h, DX_FID_IRQ_ROUTE, DX_FID_IRQ_UNROUTE, other->irq, 0);
}

static void (*const hammers[])(struct hart *) = {
	hammer_load, hammer_map, hammer_store, hammer_route};

/* One of each kind is enough, however many harts there are. */
static unsigned last_hammer(void)
{
	return m.nharts - 1 < ARRAY_SIZE(hammers) ? m.nharts - 1 : ARRAY_SIZE(hammers);
}

static void start_hammers(unsigned round)
{
	dropped = dropping = false;
	early = late = 0;
	for (unsigned i = 1; i <= last_hammer(); i++) {
		turns[i] = 0;
		hart_start(i, hammers[(i - 1 + round) % ARRAY_SIZE(hammers)]);
	}
	for (unsigned i = 1; i <= last_hammer(); i++)
		while (turns[i] < 10)
			dx_yield();
}

/* Drops the trust while they are at it. */
static void drop_hammered(unsigned round)
{
	start_hammers(round);
	__atomic_store_n(&dropping, true, __ATOMIC_SEQ_CST);
	drop();
	__atomic_store_n(&dropped, true, __ATOMIC_SEQ_CST);
	for (unsigned i = 1; i <= last_hammer(); i++)
		while (sbi_hart_status(i) != HSM_STOPPED)
			dx_yield();
	check_eq("nothing was refused before the drop", early, 0);
	check_eq("nothing was let through after the drop", late, 0);
}

static void drop_under_load(uint64_t round)
{
	checks_begin();
	device_take(disk);
	drop_hammered((unsigned)round);
	unreachable("after the drop", disk->base);
	unreachable("after the drop", other->base);
	dx_exit(checks_end());
}

static void test_under_load(void)
{
	if (m.nharts == 1)
		skip("drop under load", "one hart");
	for (uint64_t round = 0; round < ARRAY_SIZE(hammers) && m.nharts > 1; round++) {
		struct dx_end e = dx_end(dx_spawn(drop_under_load, round));

		check_eq("drop under load", e.reason, DX_REASON_EXIT);
		checks_add(e.code);
		check_free(disk);
		check_free(other);
	}
}

/* --- who has it --- */

static void trust_of_fork(uint64_t arg)
{
	dx_exit(arg + trusted(DX_SELF));
}

static uint64_t fork_with(uint32_t flags)
{
	struct sbiret r = dx_fork_try(dx_fork_options(flags));

	if (r.error)
		broken("fork: flags, error", flags, (uint64_t)r.error, 0);
	return r.value;
}

static void end(uint64_t child)
{
	dx(DX_FID_KILL, child, 0, 0);
	dx_end(child);
}

static uint64_t clone_with(uint64_t template, uint32_t flags)
{
	struct sbiret r = dx(DX_FID_CLONE, template, (uintptr_t)dx_fork_options(flags), 0);

	if (r.error)
		broken("clone: flags, error", flags, (uint64_t)r.error, 0);
	return r.value;
}

static void check_clone(uint64_t template, uint32_t flags, bool expected)
{
	uint64_t c = clone_with(template, flags | DX_PAUSED);

	check_eq_at("a clone's trust, by flags", flags, trusted(c), expected);
	end(c);
}

static uint64_t create_with(uint32_t flags)
{
	struct dx_create *c = dx_create_options(1, RAM);

	c->flags = flags;
	struct sbiret r = dx(DX_FID_CREATE, (uintptr_t)c, 0, 0);

	if (r.error)
		broken("create: flags, error", flags, (uint64_t)r.error, 0);
	return r.value;
}

static void check_created(uint32_t flags, bool expected)
{
	uint64_t c = create_with(flags);

	check_eq_at("a created child's trust, by flags", flags, trusted(c), expected);
	end(c);
}

/* A child without trust, and one of it. */
static void without(void)
{
	checks_begin();
	refused();
	dx_end_is("its fork has none", dx_spawn(trust_of_fork, 0), 0);
	dx_exit(checks_end());
}

static void test_inheritance(void)
{
	dx_end_is("a fork has its parent's trust", dx_spawn(trust_of_fork, 0), 1);
	uint64_t child = fork_with(DX_NO_TRUST);

	if (child == 0)
		without();
	check("not if it is refused", !trusted(child));
	checks_add(dx_end(child).code);
	check("which is no loss of the parent's", trusted(DX_SELF));
	child = fork_with(DX_PAUSED);
	if (child == 0)
		idle();
	check_clone(child, 0, false);
	check_clone(child, DX_TRUST, true);
	end(child);
	child = fork_with(DX_PAUSED | DX_NO_TRUST);
	if (child == 0)
		idle();
	check_clone(child, DX_TRUST, true);
	end(child);
	check_created(0, false);
	check_created(DX_TRUST, true);
}

/* --- memory --- */

static void make_dirty(uint8_t value)
{
	for (unsigned i = 0; i < DIRTY; i++)
		memset(dirty[i], value, PAGE);
}

/* How much of the memory is the child's own from the start. */
static uint64_t private_pages(void)
{
	uint64_t child = fork_with(DX_PAUSED), n;

	if (child == 0)
		idle();
	n = dx_info(child)->pages_private;
	end(child);
	return n;
}

static void share_after_drop(uint64_t arg)
{
	checks_begin();
	make_dirty(3);
	check("a VM with trust and no device shares", private_pages() < DIRTY);
	device_take(disk);
	check("with a device, a fork is a copy", private_pages() >= DIRTY);
	device_release(disk);
	check("also when it is given back", private_pages() >= DIRTY);
	drop();
	check("without trust it shares again", private_pages() < DIRTY);
	uint64_t child = dx_fork(), copies;

	if (child == 0) {
		uint64_t good = 0;

		for (unsigned i = 0; i < DIRTY; i++)
			good += dirty[i][0] == 3 && dirty[i][PAGE - 1] == 3;
		make_dirty(4);
		dx_exit(good);
	}
	copies = dx_info(DX_SELF)->copies;
	make_dirty(5);
	check("copy on write", dx_info(DX_SELF)->copies >= copies + DIRTY);
	dx_end_is("the child's memory is of the fork", child, DIRTY);
	check_eq("the parent's memory is its own", dirty[DIRTY - 1][0], 5);
	(void)arg;
	dx_exit(checks_end());
}

static void test_sharing(void)
{
	run("a VM that holds, and drops", share_after_drop);
}

/* --- ghosts --- */

static void check_ghost(uint64_t at)
{
	uint64_t bad = 0, value;

	for (uint64_t a = at; a < at + PAGE; a += 40)
		for (unsigned size = 1; size <= 8; size *= 2) {
			value = 0x1234567890abcdefull;
			bad += try_load_value(a, size, &value).taken || value;
			bad += try_store(a, size, ~0ul).taken;
			value = 0x1234567890abcdefull;
			bad += try_load_value(a, size, &value).taken || value;
		}
	check_eq_at("a ghost reads 0 and takes writes", at, bad, 0);
	check_eq_at("a ghost is not executed", at, outcome(try_exec(at)), TRAP(INSN_ACCESS));
}

/* The image that EXEC starts: where devices were is nothing, for its forks too. */
static void after_exec(struct hart *h)
{
	(void)h;
	checks_begin();
	unreachable("after EXEC", disk->base);
	unreachable("after EXEC", FAR);
	uint64_t child = dx_fork();

	if (child == 0) {
		checks_begin();
		unreachable("a fork after EXEC", disk->base);
		unreachable("a fork after EXEC", FAR);
		dx_exit(checks_end());
	}
	checks_add(dx_end(child).code);
	dx_exit(checks_end());
}

static void exec(uint64_t arg)
{
	(void)arg;
	this_hart()->fn = after_exec;
	dx(DX_FID_EXEC, (uintptr_t)hart_entry, (uintptr_t)this_hart(), 0);
	broken("EXEC returned", 0, 0, 0);
}

static void ghost_of_ghost(uint64_t arg)
{
	(void)arg;
	checks_begin();
	check_ghost(disk->base);
	check_ghost(FAR);
	dx_exit(checks_end());
}

static void ghost(uint64_t arg)
{
	checks_begin();
	check_ghost(disk->base);
	check_ghost(FAR);
	unreachable("behind a ghost", FAR + PAGE);
	/* A device of its own may take the place. */
	check_err("the parent's device", dx(DX_FID_MMIO_MAP, disk->base, PAGE, FAR), DX_ERR_EXISTS);
	check_err("another one", dx(DX_FID_MMIO_MAP, other->base, PAGE, FAR), SBI_SUCCESS);
	check_eq("it is there", get32(FAR), MAGIC);
	check_err("and goes", dx(DX_FID_MMIO_UNMAP, FAR, PAGE, 0), SBI_SUCCESS);
	unreachable("where it was", FAR);
	check_ghost(disk->base);
	if (arg)
		drop();
	check_ghost(disk->base);
	dx_exit(checks_end());
}

static void run_child(void (*fn)(uint64_t), uint64_t arg)
{
	struct dx_end e = dx_end(dx_spawn(fn, arg));

	check_eq("a child of a holder ends", e.reason, DX_REASON_EXIT);
	checks_add(e.code);
}

static void holder(uint64_t arg)
{
	checks_begin();
	device_take(disk);
	dx(DX_FID_MMIO_MAP, disk->base, PAGE, FAR);
	put32(disk->base + VIRTIO_STATUS, 1);
	run_child(ghost, arg);
	run_child(ghost_of_ghost, 0);
	run_child(exec, 0);
	uint64_t middle = dx_fork();

	if (middle == 0) {
		checks_begin();
		run_child(ghost_of_ghost, 0);
		run_child(exec, 0);
		dx_exit(checks_end());
	}
	checks_add(dx_end(middle).code);
	check_eq("a ghost's writes reach nothing", get32(disk->base + VIRTIO_STATUS), 1);
	check_eq("nor what is mapped twice", get32(FAR + VIRTIO_STATUS), 1);
	dx_exit(checks_end());
}

static void test_ghosts(void)
{
	for (uint64_t drops = 0; drops < 2; drops++)
		run_child(holder, drops);
	check_free(disk);
}

/* --- a VM without trust, and its children that have it --- */

static void kept_out(uint64_t child)
{
	check("the child keeps its trust", trusted(child));
	struct sbiret r = sbi(
		EID_DIOSIX, DX_FID_WINDOW_MAP, child, dx_info(child)->ram_base, FAR, PAGE, DX_READ);

	check_err("map its memory", r, SBI_DENIED);
	check_err("its device tree", dx(DX_FID_FDT_WRITE, child, (uintptr_t)buffer, sizeof(buffer)),
		SBI_DENIED);
	check_err("clone it", dx(DX_FID_CLONE, child, 0, 0), SBI_DENIED);
}

static void weak_parent(uint64_t arg)
{
	checks_begin();
	uint64_t runs = dx_fork();

	if (runs == 0)
		idle();
	uint64_t created = create_with(DX_TRUST);

	drop();
	kept_out(runs);
	check_err("reboot it", dx(DX_FID_REBOOT, runs, 0, 0), SBI_DENIED);
	check_err("pause it", dx(DX_FID_PAUSE, runs, 0, 0), SBI_SUCCESS);
	kept_out(runs);
	check_err("reboot it", dx(DX_FID_REBOOT, runs, 0, 0), SBI_DENIED);
	check_eq("it is paused still", dx_info(runs)->state, DX_PAUSED_STATE);
	check_err("resume it", dx(DX_FID_RESUME, runs, 0, 0), SBI_SUCCESS);
	kept_out(created);
	check_err("start it", dx(DX_FID_START, created, 0x80000000, 0), SBI_DENIED);
	check_eq("it is created still", dx_info(created)->state, DX_CREATED);
	check_err("kill it", dx(DX_FID_KILL, runs, 0, 0), SBI_SUCCESS);
	check_err("kill it", dx(DX_FID_KILL, created, 0, 0), SBI_SUCCESS);
	check_eq("it is gone", dx_end(runs).reason, DX_REASON_KILLED);
	check_eq("it is gone", dx_end(created).reason, DX_REASON_KILLED);
	(void)arg;
	dx_exit(checks_end());
}

static void test_weak_parent(void)
{
	run("a parent without trust", weak_parent);
}

/* --- all --- */

static void test_all(void)
{
	test_drop();
	test_free_at_once();
	test_inheritance();
	test_sharing();
	test_ghosts();
	test_weak_parent();
}

static void test_hammered(void)
{
	test_all();
	test_under_load();
}

/* The Root VM's own end of trust: a child from before has every device afterwards. */
static _Noreturn void take_over(void)
{
	checks_begin();
	for (unsigned i = 0; i < m.nvirtio; i++)
		check_free(&m.virtio[i]);
	check_err("the PCI host", dx(DX_FID_MMIO_MAP, m.pci, m.pci_size, m.pci), SBI_SUCCESS);
	dx_exit(checks_end());
}

static void test_root(void)
{
	check("the Root VM's forks are copies", private_pages() >= DIRTY);
	device_take(disk);
	uint64_t heir = fork_with(DX_PAUSED);

	if (heir == 0)
		take_over();
	drop_hammered(0);
	for (unsigned i = 0; i < m.nvirtio; i++)
		unreachable("the Root VM's device", m.virtio[i].base);
	unreachable("the PCI host", m.pci);
	unreachable("the PCI host's end", m.pci + m.pci_size - 4);
	refused();
	kept_out(heir);
	check_err("resume it", dx(DX_FID_RESUME, heir, 0, 0), SBI_SUCCESS);
	checks_add(dx_end(heir).code);
	check("the Root VM's forks share", private_pages() < DIRTY);
}

void guest_main(void)
{
	disk = blk_find();
	other = &m.virtio[disk == &m.virtio[0]];
	make_dirty(1);
	device_release(disk);
	device_release(other);
	test_all(); /* in the Root VM: each child is a copy */
	dx_run(test_hammered);
	uint64_t before = dx_pages();

	test_all();
	dx_run(test_hammered);
	check_eq("not one page lost", dx_pages(), before);
	test_root();
}
