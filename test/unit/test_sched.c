/* SPDX-License-Identifier: MIT */
/*
 * The scheduler on a simulated machine: a clock that counts ticks, PCPUs that do what riscv/trap.c
 * does, and tasks that compute, wait and wake. If this fails, VCPUs starve, wait beside idle PCPUs,
 * miss a wake-up or run late.
 *
 * A PCPU enters the scheduler only when it is kicked, its deadline comes or its task waits with VTW
 * set, as on the machine: a task alone on its PCPU is never interrupted.
 */
#include "unit.h"
#include "core/lock.h"
#include "core/sched.h"

/* Where the scheduler takes or gives back a lock, another PCPU may come in between: see
 * interleave(). */
static void step_lock(struct spinlock *l);
static void step_unlock(struct spinlock *l);

#define spin_lock(l)   step_lock(l)
#define spin_unlock(l) step_unlock(l)
#include "core/sched.c"
#undef spin_lock
#undef spin_unlock

#define SLICE      20
#define MAX_CPUS   8
#define MAX_TASKS  256
#define MAX_GROUPS 256
#define FOREVER    UINT64_MAX

struct task {
	struct sched_entity e;
	struct sched_group *in;
	uint64_t burst;   /* ticks of work between two waits; FOREVER for a hog */
	uint64_t sleep;   /* ticks of each wait; FOREVER: until an interrupt */
	uint64_t left;    /* of this burst; 0: in WFI */
	uint64_t wake_at; /* its own timer */
	bool irq;         /* an interrupt is pending for it */
	uint64_t ran;     /* ticks of work done */
	uint64_t late;    /* ticks READY without a break */
};

struct cpu {
	struct task *cur;
	bool kicked, vtw;
	bool inside; /* in enter(): does nothing else */
	uint64_t deadline, exits;
	uint64_t unused; /* ticks without work while somebody was READY, without a break */
};

static struct cpu cpus[MAX_CPUS];
static struct task tasks[MAX_TASKS];
static struct sched_group *groups[MAX_GROUPS];
static uint32_t ngroups;
static uint32_t ncpus, ntasks;
static uint64_t present; /* the clock */
static unsigned locks_held, depth, chaos;
static uint64_t seed;

static uint32_t rnd(uint32_t n)
{
	seed = seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return (uint32_t)(seed >> 33) % n;
}

static void kick(uint32_t cpu)
{
	assert_true(cpu < ncpus);
	cpus[cpu].kicked = true;
}

/* The group of a VM; the first is the Root VM's. */
static struct sched_group *group_in(struct sched_group *parent, uint32_t weight)
{
	assert_true(ngroups < MAX_GROUPS);
	struct sched_group *g = groups[ngroups++] = malloc(sched_group_size());

	memset(g, 0xa5, sched_group_size());
	sched_group_init(g, parent);
	sched_group_set_weight(g, weight);
	return g;
}

static struct sched_group *child_of(struct sched_group *parent)
{
	return group_in(parent, DX_WEIGHT_DEFAULT);
}

static void machine(uint32_t n)
{
	while (ngroups)
		free(groups[--ngroups]);
	memset(cpus, 0, sizeof(cpus));
	memset(tasks, 0, sizeof(tasks));
	ncpus = n;
	ntasks = 0;
	present = 1000;
	locks_held = depth = chaos = 0;
	sched_init(n, SLICE, kick);
	for (uint32_t i = 0; i < n; i++)
		cpus[i].deadline = SCHED_NEVER;
	child_of(NULL);
}

static struct task *task_in(
	struct sched_group *g, uint32_t home, uint8_t priority, uint64_t burst, uint64_t sleep)
{
	struct task *t = &tasks[ntasks++];

	assert_true(ntasks <= MAX_TASKS);
	*t = (struct task){
		.in = g, .burst = burst, .left = burst, .sleep = sleep, .wake_at = SCHED_NEVER};
	sched_entity_init(&t->e, g, home, priority);
	return t;
}

static struct task *task(uint32_t home, uint8_t priority, uint64_t burst, uint64_t sleep)
{
	return task_in(groups[0], home, priority, burst, sleep);
}

static struct task *hog_in(struct sched_group *g, uint32_t home, uint8_t priority)
{
	struct task *t = task_in(g, home, priority, FOREVER, FOREVER);

	sched_start(&t->e, present);
	return t;
}

static struct task *hog(uint32_t home, uint8_t priority)
{
	return hog_in(groups[0], home, priority);
}

static bool in_wfi(const struct task *t)
{
	return t->left == 0;
}

/* An interrupt for a task, as vcpu_post does it: one that is loaded sees it by itself. */
static void interrupt(struct task *t)
{
	t->irq = true;
	for (uint32_t i = 0; i < ncpus; i++)
		if (cpus[i].cur == t)
			return;
	sched_wake(&t->e, present);
}

static void begin_wait(struct task *t)
{
	t->irq = false;
	t->wake_at = t->sleep == FOREVER ? SCHED_NEVER : present + t->sleep;
}

/* WFI ends when an interrupt is there. */
static void try_resume(struct task *t)
{
	if (!in_wfi(t) || !(t->irq || t->wake_at <= present))
		return;
	t->left = t->burst;
	t->wake_at = SCHED_NEVER;
}

static void go_on(uint32_t i)
{
	struct cpu *c = &cpus[i];

	c->vtw = c->cur && sched_contended(i);
	c->deadline = sched_deadline(i);
	if (c->cur)
		try_resume(c->cur);
}

static void choose(uint32_t i)
{
	struct sched_entity *e = sched_pick(i, present);

	cpus[i].cur = e ? container_of(e, struct task, e) : NULL;
	go_on(i);
}

static void give_up(uint32_t i, enum sched_state to, uint64_t until)
{
	struct task *t = cpus[i].cur;

	cpus[i].cur = NULL;
	sched_put(i, &t->e, to, until, present);
	choose(i);
}

static void reschedule(uint32_t i)
{
	struct cpu *c = &cpus[i];

	c->kicked = false;
	c->exits++;
	if (!c->cur) {
		sched_expire(i, present);
		choose(i);
	} else if (sched_tick(i, present)) {
		give_up(i, SCHED_READY, SCHED_NEVER);
	} else {
		go_on(i);
	}
}

/* All that happens on a PCPU at this tick before its task goes on working. */
static void enter(uint32_t i)
{
	struct cpu *c = &cpus[i];

	if (c->inside)
		return;
	c->inside = true;
	for (unsigned n = 0;; n++) {
		assert_true(n < 64); /* it settles */
		if (c->cur)
			try_resume(c->cur);
		if (c->kicked || c->deadline <= present)
			reschedule(i);
		else if (c->cur && in_wfi(c->cur) && c->vtw)
			give_up(i, SCHED_BLOCKED, c->cur->wake_at);
		else
			break;
	}
	c->inside = false;
}

/*
 * With chaos = n, one of n places where the scheduler holds no lock is where another PCPU does all
 * that it has to do, or an interrupt comes, and time goes on meanwhile: what real PCPUs do to each
 * other, in an order that can be repeated.
 */
static void interleave(void)
{
	if (!chaos || locks_held || depth >= 3 || rnd(chaos))
		return;
	struct task *t = &tasks[rnd(ntasks)];

	depth++;
	present += rnd(8) == 0;
	if (rnd(2))
		enter(rnd(ncpus));
	else if (t->e.state != SCHED_OFF)
		interrupt(t);
	depth--;
}

static void step_lock(struct spinlock *l)
{
	interleave();
	if (spin_is_locked(l))
		fail_msg("a lock is taken twice");
	spin_lock(l);
	locks_held++;
}

static void step_unlock(struct spinlock *l)
{
	locks_held--;
	spin_unlock(l);
	interleave();
}

static void work(struct cpu *c)
{
	struct task *t = c->cur;

	if (!t || in_wfi(t))
		return;
	t->ran++;
	if (t->left != FOREVER && --t->left == 0)
		begin_wait(t);
}

static const struct task *runs_here(const struct sched_entity *e)
{
	const struct task *found = NULL;

	for (uint32_t i = 0; i < ncpus; i++)
		if (cpus[i].cur && &cpus[i].cur->e == e) {
			assert_null(found);
			assert_int_equal(e->home, i);
			found = cpus[i].cur;
		}
	return found;
}

/* In exactly the queues that the state says, and on a PCPU only when RUNNING. */
static void check_task(const struct task *t)
{
	const struct sched_entity *e = &t->e;

	assert_true(e->home < ncpus);
	assert_int_equal(runs_here(e) != NULL, e->state == SCHED_RUNNING);
	assert_int_equal(e->ready.queued, e->state == SCHED_READY);
	if (e->timer.queued) {
		assert_int_equal(e->state, SCHED_BLOCKED);
		assert_int_equal(e->timer.key, t->wake_at);
	}
	if (e->state == SCHED_BLOCKED) {
		assert_true(in_wfi(t) && !t->irq);
		assert_int_equal(e->timer.queued, t->wake_at != SCHED_NEVER);
	}
	assert_true(e->node.run_ticks <= present && e->wait_ticks <= present);
}

/* Nobody is interrupted for nothing: a deadline needs a sleeper with a timer, or somebody waiting
 * at any PCPU until a slice ago. */
static void check_deadline(uint32_t i)
{
	bool reason = sched.rq[i].slice_end <= present + SLICE;

	for (uint32_t k = 0; k < ntasks; k++)
		reason |= tasks[k].e.ready.queued ||
			  (tasks[k].e.home == i && tasks[k].e.timer.queued);
	assert_true(reason || sched_deadline(i) == SCHED_NEVER);
}

#define UNUSED_MAX 3           /* ticks for kicks to arrive */
#define STALL_MAX  (4 * SLICE) /* a task in a native WFI is found out later */

static void check_no_waste(void)
{
	bool ready = false;

	for (uint32_t k = 0; k < ntasks; k++)
		ready |= tasks[k].e.state == SCHED_READY;
	for (uint32_t i = 0; i < ncpus; i++) {
		struct cpu *c = &cpus[i];

		if (ready && (!c->cur || in_wfi(c->cur)))
			c->unused++;
		else
			c->unused = 0;
		if (c->unused > (c->cur ? STALL_MAX : UNUSED_MAX))
			fail_msg("PCPU %u %s while somebody waits", i,
				c->cur ? "stalls in WFI" : "is idle");
	}
}

/* Nobody of lower priority runs while a higher one waits, but in the Root VM's share. */
static void check_priorities(void)
{
	unsigned lowest = SCHED_MAX_PRIORITY + 1;

	for (uint32_t i = 0; i < ncpus; i++)
		if (cpus[i].cur && sched.rq[i].run != RANK_LIFTED &&
			cpus[i].cur->e.priority < lowest)
			lowest = cpus[i].cur->e.priority;
	for (uint32_t k = 0; k < ntasks; k++) {
		struct task *t = &tasks[k];

		t->late = t->e.state == SCHED_READY && t->e.priority > lowest ? t->late + 1 : 0;
		if (t->late > UNUSED_MAX)
			fail_msg("task %u of priority %u waits, one of %u runs", k, t->e.priority,
				lowest);
	}
}

/* Of each level: how many inside wait or run, and that queues hold exactly what waits. */
static void check_groups(void)
{
	uint32_t active[MAX_GROUPS];
	uint64_t ticks[MAX_GROUPS] = {0};

	for (uint32_t g = 0; g < ngroups; g++) {
		for (uint32_t i = 0; i < ncpus; i++) {
			struct sched_queue *own = &groups[g]->own.on[i],
					   *all = &groups[g]->subtree.on[i];

			assert_int_equal(own->link.queued, own->ready.root != NULL);
			assert_int_equal(all->link.queued, all->ready.root != NULL);
		}
		uint32_t own = 0, inside = 0;

		for (unsigned p = 0; p <= SCHED_MAX_PRIORITY; p++) {
			own += groups[g]->own.active[p];
			inside += groups[g]->subtree.active[p];
		}
		active[g] = own;
		assert_true(inside || !own);
	}
	for (uint32_t k = 0; k < ntasks; k++) {
		const struct task *t = &tasks[k];

		for (uint32_t g = 0; g < ngroups; g++) {
			if (groups[g] != t->in)
				continue;
			ticks[g] += t->e.node.run_ticks;
			active[g] -= t->e.state == SCHED_READY || t->e.state == SCHED_RUNNING;
		}
	}
	for (uint32_t g = 0; g < ngroups; g++) {
		assert_int_equal(active[g], 0);
		assert_int_equal(groups[g]->own.run_ticks, ticks[g]);
	}
}

static void check(void)
{
	unsigned disorder = chaos;

	chaos = 0;
	for (uint32_t k = 0; k < ntasks; k++)
		check_task(&tasks[k]);
	for (uint32_t i = 0; i < ncpus; i++)
		check_deadline(i);
	if (ntasks + ngroups < 50 || present % 32 == 0)
		check_groups();
	check_no_waste();
	check_priorities();
	chaos = disorder;
}

static void tick(void)
{
	for (uint32_t i = 0; i < ncpus; i++)
		enter((i + (uint32_t)present) % ncpus);
	check();
	for (uint32_t i = 0; i < ncpus; i++)
		work(&cpus[i]);
	present++;
}

static void run(uint64_t ticks)
{
	while (ticks--)
		tick();
}

static uint64_t spread(uint32_t from, uint32_t to)
{
	uint64_t least = FOREVER, most = 0;

	for (uint32_t i = from; i < to; i++) {
		least = MIN(least, tasks[i].ran);
		most = MAX(most, tasks[i].ran);
	}
	return most - least;
}

static void alone_is_never_interrupted(void **state)
{
	machine(2);
	struct task *t = hog(0, 3);

	run(3);
	cpus[0].exits = cpus[1].exits = 0;
	run(100 * SLICE);
	assert_true(t->ran >= 100 * SLICE);
	assert_int_equal(cpus[0].exits + cpus[1].exits, 0);
	assert_int_equal(sched_deadline(0), SCHED_NEVER);
	assert_false(sched_contended(0));
}

/* Hogs of one priority: at every moment each has had as much as any other, but for the slices under
 * way. */
static void share(uint32_t n, uint32_t on, uint64_t slices_apart)
{
	machine(on);
	for (uint32_t i = 0; i < n; i++)
		hog(i % on, 3);
	for (unsigned i = 0; i < 200; i++) {
		run(SLICE);
		if (spread(0, n) > slices_apart * SLICE)
			fail_msg("%u on %u: %lu ticks apart after %u slices", n, on, spread(0, n),
				i);
	}
}

static void equals_share(void **state)
{
	share(2, 1, 1);
	share(5, 1, 1);
	share(40, 1, 1);
	share(3, 2, 3);
	share(8, 2, 3);
	share(5, 4, 3);
	share(4, 3, 3);
	share(9, 8, 3);
	share(64, 8, 3);
}

/* The same when all begin at home 0. */
static void equals_share_from_one_home(void **state)
{
	machine(2);
	for (uint32_t i = 0; i < 3; i++)
		hog(0, 3);
	run(400 * SLICE);
	assert_true(spread(0, 3) <= 3 * SLICE);
}

/* As long as all get the same, none goes from one PCPU to another. */
static void equals_stay_where_they_are(void **state)
{
	unsigned moves = 0;

	machine(2);
	for (uint32_t i = 0; i < 6; i++)
		hog(i % 2, 3);
	run(10 * SLICE);
	for (unsigned i = 0; i < 100 * SLICE; i++) {
		uint32_t homes[6];

		for (uint32_t k = 0; k < 6; k++)
			homes[k] = tasks[k].e.home;
		run(1);
		for (uint32_t k = 0; k < 6; k++)
			moves += homes[k] != tasks[k].e.home;
	}
	assert_true(moves <= 4);
}

static void late_comers_share_from_then_on(void **state)
{
	machine(2);
	hog(0, 3);
	hog(1, 3);
	run(1000 * SLICE);
	hog(0, 3);
	for (unsigned i = 0; i < 3; i++)
		tasks[i].ran = 0;
	run(300 * SLICE);
	assert_true(spread(0, 3) <= 4 * SLICE);
}

/* Slices are as long as asked for: about one exit per slice and PCPU, not many. */
static void slices_are_long(void **state)
{
	machine(1);
	for (uint32_t i = 0; i < 4; i++)
		hog(0, 3);
	run(3);
	cpus[0].exits = 0;
	run(100 * SLICE);
	assert_in_range(cpus[0].exits, 99, 101);
}

/* Who waits and is behind gets the PCPU when the slice is over, not at any exit before. */
static void a_kick_does_not_end_a_slice(void **state)
{
	machine(1);
	struct task *a = hog(0, 3);

	run(10 * SLICE);
	hog(0, 3);
	for (unsigned i = 0; i < SLICE; i++) {
		kick(0);
		assert_ptr_equal(cpus[0].cur, a);
		run(1);
	}
	run(1);
	assert_ptr_not_equal(cpus[0].cur, a);
}

/* One that waits but has had more does not end a slice either. */
static void the_least_served_goes_on(void **state)
{
	machine(1);
	struct task *a = hog(0, 3), *b = hog(0, 3);

	assert_ptr_equal(sched_pick(0, present), &a->e);
	sched_put(0, &a->e, SCHED_READY, SCHED_NEVER, present + 10 * SLICE);
	assert_ptr_equal(sched_pick(0, present + 10 * SLICE), &b->e);
	for (uint64_t i = 11; i < 20; i++)
		assert_false(sched_tick(0, present + i * SLICE));
	assert_true(sched_tick(0, present + 21 * SLICE + 1));
}

/* Only a lower one waits, so there is no slice; then an equal one comes. */
static void an_equal_behind_a_lower_one(void **state)
{
	machine(1);
	struct task *a = hog(0, 3);

	hog(0, 2);
	run(10);
	assert_int_equal(sched_deadline(0), SCHED_NEVER);
	struct task *b = hog(0, 3);

	run(100 * SLICE);
	assert_in_range(a->ran, 48 * SLICE, 52 * SLICE);
	assert_in_range(b->ran, 48 * SLICE, 52 * SLICE);
}

static void exits_stay_few_on_many(void **state)
{
	machine(4);
	for (uint32_t i = 0; i < 11; i++)
		hog(0, 3);
	run(10 * SLICE);
	for (uint32_t i = 0; i < 4; i++)
		cpus[i].exits = 0;
	run(100 * SLICE);
	for (uint32_t i = 0; i < 4; i++)
		assert_in_range(cpus[i].exits, 90, 400);
}

static void higher_runs_alone(void **state)
{
	machine(1);
	struct task *low = hog(0, 2), *high = hog(0, 3);

	run(200 * SLICE);
	assert_true(low->ran <= 2);
	assert_true(high->ran >= 200 * SLICE - 2);
}

static void preemption_is_immediate(void **state)
{
	machine(2);
	hog(0, 3);
	hog(1, 3);
	struct task *high = task(0, 5, 3, FOREVER);

	run(7);
	sched_start(&high->e, present);
	run(2);
	assert_true(high->ran >= 1);
	run(10);
	assert_int_equal(high->ran, 3);
	interrupt(high);
	run(2);
	assert_true(high->ran >= 4);
}

/* As many high ones as PCPUs, all woken at once: all run at once. */
static void several_preempt_at_once(void **state)
{
	machine(4);
	for (uint32_t i = 0; i < 4; i++)
		hog(i, 3);
	for (uint32_t i = 0; i < 4; i++)
		task(0, 5, 50, FOREVER);
	run(5 * SLICE);
	for (uint32_t i = 4; i < 8; i++)
		sched_start(&tasks[i].e, present);
	run(6);
	for (uint32_t i = 4; i < 8; i++)
		assert_int_equal(tasks[i].e.state, SCHED_RUNNING);
}

static void the_lowest_is_preempted(void **state)
{
	machine(3);
	struct task *a = hog(0, 4), *b = hog(1, 2), *c = hog(2, 3);

	run(3);
	struct task *high = hog(0, 5);

	run(3);
	assert_int_equal(a->e.state, SCHED_RUNNING);
	assert_int_equal(b->e.state, SCHED_READY);
	assert_int_equal(c->e.state, SCHED_RUNNING);
	assert_int_equal(high->e.state, SCHED_RUNNING);
}

/* What sched.h says of the place, seen before anybody can move on. */
static void where_a_woken_one_goes(void **state)
{
	machine(4);
	assert_int_equal(hog(2, 3)->e.home, 2); /* home, when it is idle */
	assert_true(cpus[2].kicked);
	assert_int_equal(hog(2, 3)->e.home, 0); /* another idle one */
	assert_true(cpus[0].kicked && !cpus[1].kicked && !cpus[3].kicked);
	hog(3, 2);
	hog(1, 4);
	run(3);
	for (uint32_t i = 0; i < 4; i++)
		cpus[i].kicked = false;
	assert_int_equal(hog(1, 4)->e.home, 3); /* where the lowest priority runs */
	assert_true(cpus[3].kicked);
	run(3);
	assert_int_equal(hog(1, 3)->e.home, 1); /* nobody lower runs: home */
}

static void idle_pcpus_are_taken_first(void **state)
{
	machine(4);
	struct task *a = hog(2, 3), *b = hog(2, 3), *c = hog(2, 7), *d = hog(2, 1);

	run(3);
	for (uint32_t i = 0; i < 4; i++)
		assert_non_null(cpus[i].cur);
	run(50 * SLICE);
	assert_true(a->ran + b->ran + c->ran + d->ran >= 4 * 50 * SLICE - 12);
}

static void wakes_at_once_spread_over_idle_pcpus(void **state)
{
	machine(8);
	hog(0, 3);
	for (uint32_t i = 0; i < 7; i++)
		task(0, 3, 10, FOREVER);
	run(5);
	for (uint32_t i = 1; i < 8; i++)
		sched_start(&tasks[i].e, present);
	run(10);
	for (uint32_t i = 1; i < 8; i++)
		assert_true(tasks[i].ran >= 5);
}

static void timers_wake_in_time(void **state)
{
	machine(2);
	struct task *t = task(0, 3, 1, 1000);

	/* Its home is busy or not; the other PCPU idles. */
	sched_start(&t->e, present);
	run(2);
	hog(0, 3); /* makes its WFI trap, or goes elsewhere */
	run(10001);
	assert_in_range(t->ran, 9, 11);
}

/* Puts a new task to sleep at `home`, for `sleep` ticks. */
static struct task *sleeper_at(uint32_t home, uint8_t priority, uint64_t sleep)
{
	struct task *t = task(home, priority, FOREVER, sleep);

	sched_start(&t->e, present);
	assert_ptr_equal(sched_pick(home, present), &t->e);
	t->left = 0;
	begin_wait(t);
	sched_put(home, &t->e, SCHED_BLOCKED, t->wake_at, present);
	assert_int_equal(t->e.home, home);
	return t;
}

static void an_expired_timer_finds_the_idle_pcpu(void **state)
{
	machine(2);
	struct task *sleeper = sleeper_at(0, 3, 100), *busy = hog(0, 3);

	run(99);
	assert_ptr_equal(cpus[0].cur, busy);
	run(4);
	assert_ptr_equal(cpus[0].cur, busy);
	assert_ptr_equal(cpus[1].cur, sleeper);
}

static void an_expired_timer_preempts_elsewhere(void **state)
{
	machine(2);
	struct task *sleeper = sleeper_at(0, 4, 100), *high = hog(0, 6), *low = hog(1, 3);

	run(99);
	assert_ptr_equal(cpus[0].cur, high);
	assert_ptr_equal(cpus[1].cur, low);
	run(4);
	assert_ptr_equal(cpus[0].cur, high);
	assert_ptr_equal(cpus[1].cur, sleeper);
}

/* The rule of sched.h: who sleeps does not save up time. Three ways to sleep, each against a hog
 * that ran long. */
static void check_after_sleep(struct task *sleeper, struct task *runner)
{
	uint64_t before = runner->ran, slept = sleeper->ran;

	run(20 * SLICE);
	assert_in_range(runner->ran - before, 8 * SLICE, 20 * SLICE);
	assert_in_range(sleeper->ran - slept, 8 * SLICE, 20 * SLICE);
}

static void wake_as_hog(struct task *t)
{
	t->burst = FOREVER;
	interrupt(t);
}

static void sleepers_save_nothing_beside_a_silent_hog(void **state)
{
	machine(1);
	struct task *sleeper = task(0, 3, 1, FOREVER), *runner = hog(0, 3);

	sched_start(&sleeper->e, present);
	run(1000 * SLICE);
	assert_true(runner->ran > 990 * SLICE);
	wake_as_hog(sleeper);
	check_after_sleep(sleeper, runner);
}

static void sleepers_save_nothing_while_the_hog_waits(void **state)
{
	machine(1);
	struct task *sleeper = task(0, 3, 1, FOREVER), *runner = hog(0, 3);

	sched_start(&sleeper->e, present);
	run(1000 * SLICE);
	struct task *other = task(0, 3, 10, FOREVER); /* so that its WFI traps */

	sched_start(&other->e, present);
	runner->left = 1;
	run(2 * SLICE);
	assert_int_equal(runner->e.state == SCHED_READY, 0);
	wake_as_hog(sleeper);
	run(SLICE);
	wake_as_hog(runner);
	check_after_sleep(sleeper, runner);
}

/* All of them sleep when the first wakes: virtual time stands where it stopped. */
static void sleepers_save_nothing_while_all_sleep(void **state)
{
	machine(1);
	struct task *runner = hog(0, 3), *sleeper = task(0, 3, FOREVER, FOREVER);

	assert_ptr_equal(sched_pick(0, present), &runner->e);
	present += 1000 * SLICE;
	runner->left = 0;
	begin_wait(runner);
	sched_put(0, &runner->e, SCHED_BLOCKED, SCHED_NEVER, present);
	sched_start(&sleeper->e, present);
	run(SLICE);
	wake_as_hog(runner);
	check_after_sleep(sleeper, runner);
}

static void sleepers_save_nothing_while_the_hog_is_preempted(void **state)
{
	machine(1);
	struct task *sleeper = task(0, 3, 1, FOREVER), *runner = hog(0, 3),
		    *high = task(0, 5, 5, FOREVER);

	sched_start(&sleeper->e, present);
	run(1000 * SLICE);
	sched_start(&high->e, present);
	run(3);
	assert_int_equal(high->e.state, SCHED_RUNNING);
	wake_as_hog(sleeper);
	run(5);
	check_after_sleep(sleeper, runner);
}

static void new_ones_get_no_advance(void **state)
{
	machine(1);
	struct task *runner = hog(0, 3);

	run(1000 * SLICE);
	check_after_sleep(hog(0, 3), runner);
}

/* However many wake together, each has a slice of advantage, not the last one all of theirs. */
static void a_crowd_of_sleepers_saves_nothing(void **state)
{
	machine(1);
	for (uint32_t i = 0; i < 20; i++)
		sleeper_at(0, 3, FOREVER);
	struct task *runner = hog(0, 3);

	run(1000 * SLICE);
	uint64_t before = runner->ran;

	for (uint32_t i = 0; i < 20; i++)
		interrupt(&tasks[i]);
	for (uint32_t i = 0; i < 20; i++)
		tasks[i].left = FOREVER;
	run(63 * SLICE);
	assert_in_range(runner->ran - before, 1 * SLICE, 3 * SLICE);
}

/* Nor does a sleeper lose: one that wants little gets it soon, however many hogs there are. */
static void light_tasks_are_served_soon(void **state)
{
	machine(1);
	for (uint32_t i = 0; i < 10; i++)
		hog(0, 3);
	struct task *light = task(0, 3, 1, 5 * SLICE);

	sched_start(&light->e, present);
	run(1200 * SLICE);
	/* A cycle is the sleep, and at most two slices until it runs. */
	assert_true(light->ran >= 1200 / 7 - 5);
}

static void a_wake_while_running_is_kept(void **state)
{
	machine(1);
	struct task *t = task(0, 3, 1, FOREVER);

	sched_start(&t->e, present);
	assert_ptr_equal(sched_pick(0, present), &t->e);
	sched_wake(&t->e, present);
	assert_int_equal(t->e.state, SCHED_RUNNING);
	sched_put(0, &t->e, SCHED_BLOCKED, SCHED_NEVER, present + 1);
	assert_int_equal(t->e.state, SCHED_READY);
	assert_ptr_equal(sched_pick(0, present + 1), &t->e);
	sched_put(0, &t->e, SCHED_BLOCKED, SCHED_NEVER, present + 2); /* it counts once */
	assert_int_equal(t->e.state, SCHED_BLOCKED);
	assert_null(sched_pick(0, present + 2));
	sched_wake(&t->e, present + 3);
	assert_int_equal(t->e.state, SCHED_READY);
	sched_wake(&t->e, present + 3);
	assert_ptr_equal(sched_pick(0, present + 4), &t->e);
	sched_put(0, &t->e, SCHED_BLOCKED, SCHED_NEVER,
		present + 5); /* the second wake saw READY: not latched */
	assert_int_equal(t->e.state, SCHED_BLOCKED);
}

static void a_time_that_has_come_does_not_block(void **state)
{
	machine(1);
	struct task *t = hog(0, 3);

	assert_ptr_equal(sched_pick(0, present), &t->e);
	sched_put(0, &t->e, SCHED_BLOCKED, present, present);
	assert_int_equal(t->e.state, SCHED_READY);
	assert_ptr_equal(sched_pick(0, present), &t->e);
	sched_put(0, &t->e, SCHED_BLOCKED, present + 5, present);
	assert_int_equal(sched_deadline(0), present + 5);
	sched_expire(0, present + 4);
	assert_int_equal(t->e.state, SCHED_BLOCKED);
	sched_expire(0, present + 5);
	assert_int_equal(t->e.state, SCHED_READY);
	assert_int_equal(sched_deadline(0), SCHED_NEVER);
	assert_true(sched_contended(0));
}

static void timers_of_one_time_expire_together(void **state)
{
	machine(1);
	struct task *a = sleeper_at(0, 3, 100), *b = sleeper_at(0, 3, 100),
		    *c = sleeper_at(0, 3, 101);

	assert_int_equal(sched_deadline(0), present + 100);
	sched_expire(0, present + 100);
	assert_int_equal(a->e.state, SCHED_READY);
	assert_int_equal(b->e.state, SCHED_READY);
	assert_int_equal(c->e.state, SCHED_BLOCKED);
	assert_int_equal(sched_deadline(0), present + 101);
}

/* However many are due at one time, a step stays short, and the rest does not wait for anything. */
static void many_timers_expire_in_parts(void **state)
{
	unsigned woken = 0;

	machine(1);
	for (unsigned i = 0; i < 200; i++)
		sleeper_at(0, 3, 100);
	for (unsigned parts = 0; woken < 200; parts++) {
		unsigned before = woken;

		assert_int_equal(sched_deadline(0), present + 100);
		sched_expire(0, present + 100);
		for (unsigned i = woken = 0; i < ntasks; i++)
			woken += tasks[i].e.state == SCHED_READY;
		assert_in_range(woken - before, 1, 100);
	}
	assert_int_equal(sched_deadline(0), SCHED_NEVER);
}

static void a_wake_cancels_the_timer(void **state)
{
	machine(1);
	struct task *t = hog(0, 3);

	assert_ptr_equal(sched_pick(0, present), &t->e);
	sched_put(0, &t->e, SCHED_BLOCKED, present + 500, present);
	sched_wake(&t->e, present + 1);
	assert_false(t->e.timer.queued);
	assert_int_equal(sched_deadline(0), SCHED_NEVER);
}

static void off_stays_off(void **state)
{
	machine(1);
	struct task *t = hog(0, 3);

	assert_ptr_equal(sched_pick(0, present), &t->e);
	sched_wake(&t->e, present);
	sched_put(0, &t->e, SCHED_OFF, SCHED_NEVER, present);
	assert_int_equal(t->e.state, SCHED_OFF);
	sched_wake(&t->e, present);
	assert_int_equal(t->e.state, SCHED_OFF);
	assert_null(sched_pick(0, present));
	sched_start(&t->e, present);
	assert_ptr_equal(sched_pick(0, present), &t->e);
	sched_put(
		0, &t->e, SCHED_BLOCKED, SCHED_NEVER, present); /* the old wake is not remembered */
	assert_int_equal(t->e.state, SCHED_BLOCKED);
}

/* A lower one queued behind a higher one that then waits: WFI must give the PCPU away. */
static void wfi_gives_way_to_a_lower_one(void **state)
{
	machine(1);
	struct task *high = task(0, 5, 100, 1000);

	sched_start(&high->e, present);
	run(10);
	struct task *low = hog(0, 3);

	run(2000);
	assert_true(low->ran >= 1500);
	assert_true(high->ran >= 150);
}

/* One that a higher one has pushed aside shares the PCPU on which its equal was alone. */
static void equals_share_what_a_higher_one_leaves(void **state)
{
	machine(2);
	struct task *a = hog(0, 3), *b = hog(1, 3);

	run(10);
	hog(0, 5);
	run(5);
	a->ran = b->ran = 0;
	run(100 * SLICE);
	assert_in_range(a->ran, 45 * SLICE, 55 * SLICE);
	assert_in_range(b->ran, 45 * SLICE, 55 * SLICE);
}

static void a_stalled_higher_one_gives_way(void **state)
{
	machine(2);
	struct task *high = task(1, 5, 10, FOREVER);

	sched_start(&high->e, present);
	run(2);
	hog(0, 3);
	run(100);
	assert_true(cpus[1].cur == high && in_wfi(high) && !cpus[1].vtw);
	struct task *third = hog(0, 3);

	run(100 * SLICE);
	assert_true(third->ran >= 90 * SLICE);
}

static void time_is_accounted(void **state)
{
	machine(1);
	struct task *a = hog(0, 3), *b = hog(0, 3);

	run(100 * SLICE);
	for (uint32_t i = 0; i < 2; i++) {
		assert_in_range(tasks[i].e.node.run_ticks, 49 * SLICE, 51 * SLICE);
		assert_in_range(tasks[i].e.wait_ticks, 48 * SLICE, 51 * SLICE);
	}
	assert_true(a->ran + b->ran == 100 * SLICE);
}

/* Also of those that others fetch: each hog runs or waits at any time, so that the sum is time
 * itself. */
static void time_is_accounted_across_pcpus(void **state)
{
	machine(3);
	uint64_t begin = present;

	for (uint32_t i = 0; i < 7; i++)
		hog(0, 3);
	run(300 * SLICE);
	for (uint32_t i = 0; i < 7; i++) {
		const struct sched_entity *e = &tasks[i].e;
		uint64_t sum = e->node.run_ticks + e->wait_ticks;

		sum += e->state == SCHED_READY ? present - e->ready_since
					       : present - sched.rq[e->home].since;
		assert_int_equal(sum, present - begin);
	}
}

/* A PCPU reads the clock before it has the lock, so another's reading may be the later one. */
static void clocks_read_in_the_wrong_order(void **state)
{
	machine(2);
	struct task *t = task(0, 3, FOREVER, FOREVER);

	sched_start(&t->e, present + 5);
	assert_ptr_equal(sched_pick(0, present), &t->e);
	assert_int_equal(t->e.wait_ticks, 0);
	assert_false(sched_tick(0, present + 1));
	assert_int_equal(t->e.node.run_ticks, 1);
}

/* The same when the later reading is of the one that runs: the newcomer starts beside it, not an
 * age ahead or behind. */
static void a_newcomer_with_an_older_clock(void **state)
{
	machine(1);
	struct task *a = hog(0, 3), *b = task(0, 3, FOREVER, FOREVER);

	assert_ptr_equal(sched_pick(0, present + 5), &a->e);
	sched_start(&b->e, present);
	present += 5;
	cpus[0].cur = a;
	go_on(0);
	run(100 * SLICE);
	assert_in_range(a->ran, 48 * SLICE, 52 * SLICE);
	assert_in_range(b->ran, 48 * SLICE, 52 * SLICE);
}

/* --- trees --- */

static bool within(const struct sched_group *g, const struct sched_group *tree)
{
	const struct sched_node *n = &g->subtree;

	while (n && n != &tree->subtree)
		n = n->parent;
	return n != NULL;
}

/* Work done so far by what is in `tree`, and by a VM's own. */
static uint64_t ran_in(const struct sched_group *tree)
{
	uint64_t sum = 0;

	for (uint32_t k = 0; k < ntasks; k++)
		if (within(tasks[k].in, tree))
			sum += tasks[k].ran;
	return sum;
}

static uint64_t ran_own(const struct sched_group *g)
{
	uint64_t sum = 0;

	for (uint32_t k = 0; k < ntasks; k++)
		if (tasks[k].in == g)
			sum += tasks[k].ran;
	return sum;
}

static void forget_work(void)
{
	for (uint32_t k = 0; k < ntasks; k++)
		tasks[k].ran = 0;
}

/* `part` is `percent` of what `slices` slices on all PCPUs give, to a twentieth of that or two
 * slices. */
static void assert_part(uint64_t part, double percent, uint64_t slices)
{
	uint64_t ideal = (uint64_t)((double)(slices * SLICE * ncpus) * percent / 100),
		 slack = MAX(ideal / 20, 2 * SLICE);

	assert_in_range(part, ideal > slack ? ideal - slack : 0, ideal + slack);
}

/* A VM and `n` of its descendants, each forked by one of those before it, with a hog each. */
static struct sched_group *brood(struct sched_group *parent, unsigned n)
{
	uint32_t begin = ngroups;
	struct sched_group *top = child_of(parent);

	hog_in(top, rnd(ncpus), 3);
	while (n--) {
		struct sched_group *of = groups[begin + rnd(ngroups - begin)];

		hog_in(of->subtree.depth < 32 ? child_of(of) : child_of(top), rnd(ncpus), 3);
	}
	return top;
}

/* What a hundred descendants get together is what one VM gets. */
static void subtrees_share(void **state)
{
	for (uint32_t on = 1; on <= 3; on++) {
		machine(on);
		seed = on;
		hog(0, 3);
		struct sched_group *a = child_of(groups[0]), *b;

		hog_in(a, 0, 3);
		b = brood(groups[0], 100);
		run(20 * SLICE);
		forget_work();
		run(300 * SLICE);
		assert_part(ran_own(groups[0]), 100 / 3.0, 300);
		assert_part(ran_in(a), 100 / 3.0, 300);
		assert_part(ran_in(b), 100 / 3.0, 300);
	}
}

/* More PCPUs than the two can use: the rest is for those who can. */
static void what_is_not_used_goes_to_the_others(void **state)
{
	machine(4);
	hog(0, 3);
	struct sched_group *a = child_of(groups[0]), *b = brood(groups[0], 40);

	hog_in(a, 0, 3);
	run(500 * SLICE);
	assert_part(ran_own(groups[0]), 25, 500);
	assert_part(ran_in(a), 25, 500);
	assert_part(ran_in(b), 50, 500);
	/* It had twice as much, and is not made to pay for it. */
	for (unsigned i = 0; i < 7; i++)
		hog_in(a, i % 4, 3);
	forget_work();
	run(60 * SLICE);
	assert_true(ran_in(b) >= 50 * SLICE);
	run(20 * SLICE);
	forget_work();
	run(300 * SLICE);
	assert_part(ran_own(groups[0]), 25, 300);
	assert_part(ran_in(a), 37.5, 300);
	assert_part(ran_in(b), 37.5, 300);
}

/* Deep in the tree as well, when those that are to share begin on one PCPU. */
static void levels_share_across_pcpus(void **state)
{
	machine(2);
	struct sched_group *g = groups[0], *p, *q, *r;

	for (unsigned i = 0; i < 30; i++)
		g = child_of(g);
	p = child_of(g);
	q = child_of(g);
	r = child_of(g);
	hog_in(p, 0, 3);
	hog_in(q, 0, 3);
	for (unsigned i = 0; i < 30; i++)
		hog_in(r, 1, 3);
	run(20 * SLICE);
	forget_work();
	run(300 * SLICE);
	assert_part(ran_in(p), 100 / 3.0, 300);
	assert_part(ran_in(q), 100 / 3.0, 300);
	assert_part(ran_in(r), 100 / 3.0, 300);
}

static void many_subtrees_on_many_pcpus(void **state)
{
	machine(8);
	seed = 1;
	for (unsigned i = 0; i < 12; i++)
		brood(groups[0], 1 + i);
	run(100 * SLICE);
	forget_work();
	run(500 * SLICE);
	for (uint32_t g = 1; g < ngroups; g++)
		if (groups[g]->subtree.depth == 1)
			assert_part(ran_in(groups[g]), 100 / 12.0, 500);
}

/* One hog in each VM of random trees, with random weights: the part of each is the product of the
 * parts on its way. */
static void weights_count(void **state)
{
	for (uint64_t s = 0; s < 20; s++) {
		seed = s;
		machine(1);
		uint64_t sum[16] = {0}, total = 4000;

		for (unsigned i = 1; i < 12; i++) {
			uint32_t weight = 50u << rnd(3), of = rnd(i);

			hog_in(group_in(groups[of], weight), 0, 3);
			sum[of] += weight;
		}
		run(100 * SLICE);
		forget_work();
		run(total * SLICE);
		for (unsigned i = 1; i < 12; i++) {
			double part =
				(double)DX_WEIGHT_DEFAULT / (double)(DX_WEIGHT_DEFAULT + sum[i]);

			for (struct sched_node *n = &groups[i]->subtree; n->parent; n = n->parent) {
				uint64_t siblings = 0;
				bool top = !n->parent->parent;

				for (unsigned k = 1; k < 12; k++)
					if (groups[k]->subtree.parent == n->parent)
						siblings += groups[k]->subtree.weight;
				part *= n->weight /
					(double)(siblings + (top ? 0 : DX_WEIGHT_DEFAULT));
			}
			uint64_t ideal = (uint64_t)(part * (double)(total * SLICE)),
				 slack = ideal / 20 + 3 * SLICE;

			assert_in_range(
				ran_own(groups[i]), ideal - MIN(ideal, slack), ideal + slack);
		}
	}
}

static void a_weight_can_change(void **state)
{
	machine(1);
	struct sched_group *a = child_of(groups[0]), *b = child_of(groups[0]);

	hog_in(a, 0, 3);
	hog_in(b, 0, 3);
	run(100 * SLICE);
	sched_group_set_weight(a, 300);
	forget_work();
	run(200 * SLICE);
	assert_part(ran_in(a), 75, 200);
	assert_part(ran_in(b), 25, 200);
}

/* Whoever is in it: a subtree that slept is a slice behind, not each one in it. */
static void a_subtree_that_slept_saves_nothing(void **state)
{
	machine(1);
	struct sched_group *a = child_of(groups[0]), *b = child_of(groups[0]);

	for (unsigned i = 0; i < 20; i++) {
		struct task *t = task_in(child_of(b), 0, 3, 1, FOREVER);

		sched_start(&t->e, present);
	}
	run(50);
	hog_in(a, 0, 3);
	run(1000 * SLICE);
	forget_work();
	for (uint32_t i = 0; i < 20; i++)
		wake_as_hog(&tasks[i]);
	run(20 * SLICE);
	assert_in_range(ran_in(a), 8 * SLICE, 12 * SLICE);
}

/* A VM whose children live for a moment, and are many, takes no more than its part from its
 * sibling, whether it counts on newcomers' advantage or on the forgotten debts of the dead. */
static void a_fork_bomb_gets_its_part(void **state)
{
	machine(2);
	struct sched_group *a = child_of(groups[0]), *bomb = child_of(groups[0]);
	uint32_t tasks_kept, groups_kept;

	hog_in(a, 0, 3);
	hog_in(a, 1, 3);
	hog_in(bomb, 0, 3);
	tasks_kept = ntasks;
	groups_kept = ngroups;
	for (unsigned round = 0; round < 100; round++) {
		for (unsigned i = 0; i < 20; i++)
			hog_in(child_of(bomb), i % 2, 3);
		run(2 * SLICE + round % SLICE);
		for (uint32_t i = 0; i < 2; i++) {
			cpus[i].inside = true;
			while (cpus[i].cur && cpus[i].cur->in != a && cpus[i].cur->in != bomb)
				give_up(i, SCHED_OFF, SCHED_NEVER);
			cpus[i].inside = false;
		}
		/* Killed while they wait: as a VM is, each by being picked once. */
		for (uint32_t k = tasks_kept; k < ntasks; k++)
			if (tasks[k].e.state == SCHED_READY) {
				struct sched_entity *e = &tasks[k].e;

				dequeue(e, present);
				deactivate(e);
				e->state = SCHED_OFF;
			}
		while (ngroups > groups_kept) {
			sched_group_remove(groups[--ngroups]);
			free(groups[ngroups]);
		}
		ntasks = tasks_kept;
	}
	assert_in_range(ran_in(a) * 100 / ((present - 1000) * ncpus), 48, 54);
}

static void strict_priorities_across_the_tree(void **state)
{
	machine(2);
	struct sched_group *a = child_of(groups[0]), *b = child_of(a);

	for (unsigned i = 0; i < 3; i++)
		hog_in(a, 0, 3);
	run(10);
	struct task *x = hog_in(b, 0, 5), *y = hog_in(child_of(b), 0, 4);

	run(2);
	forget_work();
	run(100 * SLICE);
	assert_int_equal(x->ran, 100 * SLICE);
	assert_int_equal(y->ran, 100 * SLICE);
	assert_int_equal(ran_own(a), 0);
}

/* Time at a high priority is not held against the subtree at a lower one, nor against others. */
static void priorities_are_shared_each_by_itself(void **state)
{
	machine(1);
	struct sched_group *a = child_of(groups[0]), *b = group_in(groups[0], 50);
	struct task *high = task_in(a, 0, 5, 10, 10);

	sched_start(&high->e, present);
	hog_in(a, 0, 3);
	hog_in(b, 0, 3);
	run(600 * SLICE);
	uint64_t rest = (600 * SLICE - high->ran) / 3;

	assert_true(high->ran >= 250 * SLICE);
	assert_in_range(tasks[1].ran, 2 * rest - 3 * SLICE, 2 * rest + 3 * SLICE);
	assert_in_range(tasks[2].ran, rest - 3 * SLICE, rest + 3 * SLICE);
}

/* One slice in eight, at each PCPU where it waits, and no more against a higher priority. */
static void the_root_vm_keeps_its_share(void **state)
{
	for (unsigned roots = 1; roots <= 9; roots += 4) {
		machine(2);
		struct sched_group *a = child_of(groups[0]);

		for (unsigned i = 0; i < 5; i++)
			hog_in(a, i % 2, 7);
		for (unsigned i = 0; i < roots; i++)
			hog(i % 2, 1);
		run(20 * SLICE);
		forget_work();
		run(800 * SLICE);
		uint64_t part = ran_own(groups[0]), pcpus = roots > 1 ? 2 : 1;

		assert_in_range(part, 95 * SLICE * pcpus, 105 * SLICE * pcpus);
	}
}

static void the_root_vm_keeps_its_share_against_a_crowd(void **state)
{
	machine(1);
	hog(0, 3);
	for (unsigned i = 0; i < 50; i++)
		hog_in(group_in(groups[0], 1000), 0, 3);
	run(800 * SLICE);
	assert_in_range(ran_own(groups[0]), 95 * SLICE, 110 * SLICE);
	/* What was its share anyway is not held against it when the crowd has gone. */
	for (uint32_t k = 2; k < ntasks; k++)
		sched_set_priority(&tasks[k].e, 1, present);
	sched_group_set_weight(groups[1], 100);
	run(SLICE);
	forget_work();
	run(40 * SLICE);
	assert_in_range(ran_own(groups[0]), 19 * SLICE, 23 * SLICE);
}

/* The share is for those who waited: who comes back at once is not lifted at once. */
static void a_short_wait_lifts_nobody(void **state)
{
	machine(1);
	hog_in(child_of(groups[0]), 0, 5);
	struct task *t = task(0, 3, 5, 1);

	run(50 * SLICE);
	sched_start(&t->e, present);
	run(7 * SLICE - 2);
	assert_int_equal(t->ran, 0);
	run(5);
	assert_true(t->ran > 0);
	run(80 * SLICE);
	assert_true(t->ran <= 13 * SLICE);
}

static void a_priority_can_change(void **state)
{
	machine(1);
	struct task *c = sleeper_at(0, 3, FOREVER), *a = hog(0, 3), *b = hog(0, 3);

	run(10 * SLICE);
	struct task *runs = cpus[0].cur, *waits = runs == a ? b : a;

	sched_set_priority(&waits->e, 4, present); /* READY */
	run(2);
	assert_ptr_equal(cpus[0].cur, waits);
	sched_set_priority(&waits->e, 2, present); /* RUNNING */
	run(2);
	assert_ptr_equal(cpus[0].cur, runs);
	sched_set_priority(&c->e, 5, present); /* BLOCKED */
	wake_as_hog(c);
	run(2);
	assert_ptr_equal(cpus[0].cur, c);
	for (uint32_t i = 0; i < 3; i++)
		sched_set_priority(&tasks[i].e, 1, present);
	run(SLICE);
	forget_work();
	run(90 * SLICE);
	assert_true(spread(0, 3) <= 2 * SLICE);
}

/* One that falls below what waits at another PCPU, and one that rises above what runs there. */
static void a_changed_priority_is_seen_elsewhere(void **state)
{
	machine(2);
	struct task *a = hog(0, 5), *b = hog(1, 3), *c = hog(1, 2);

	run(10);
	assert_int_equal(c->e.state, SCHED_READY);
	sched_set_priority(&a->e, 1, present);
	run(3);
	assert_int_equal(a->e.state, SCHED_READY);
	sched_set_priority(&a->e, 6, present);
	run(3);
	assert_int_equal(a->e.state, SCHED_RUNNING);
	assert_int_equal(b->e.state, SCHED_RUNNING);
}

/* Time as another priority is paid for at that one. */
static void a_changed_priority_pays_what_it_ran(void **state)
{
	machine(1);
	struct task *a = hog_in(child_of(groups[0]), 0, 5), *b;

	run(1000 * SLICE);
	sched_set_priority(&a->e, 3, present);
	run(2);
	assert_true(a->in->subtree.vruntime[5] > CLOCK_START + 900 * SLICE);
	assert_true(a->in->subtree.vruntime[3] < CLOCK_START + SLICE);
	b = hog_in(child_of(groups[0]), 0, 3);
	forget_work();
	run(40 * SLICE);
	assert_in_range(a->ran, 18 * SLICE, 22 * SLICE);
	assert_in_range(b->ran, 18 * SLICE, 22 * SLICE);
}

/* Also of those that nothing interrupts. */
static void a_group_knows_its_time(void **state)
{
	machine(3);
	struct sched_group *a = child_of(groups[0]), *b = child_of(a);

	hog_in(a, 0, 3);
	hog_in(a, 1, 3);
	hog_in(b, 2, 3);
	run(100 * SLICE);
	assert_in_range(sched_group_ticks(a, present), 198 * SLICE, 200 * SLICE);
	assert_in_range(sched_group_ticks(b, present), 99 * SLICE, 100 * SLICE);
	assert_int_equal(sched_group_ticks(groups[0], present), 0);
	assert_in_range(a->subtree.run_ticks, 297 * SLICE, 300 * SLICE);
}

static void wrong_calls_are_bugs(void **state)
{
	static struct sched_entity e;
	static struct task *t;

	expect_bug(sched_init(0, SLICE, kick));
	expect_bug(sched_init(SCHED_MAX_PCPUS + 1, SLICE, kick));
	machine(2);
	expect_bug(sched_entity_init(&e, groups[0], 2, 3));
	expect_bug(sched_entity_init(&e, groups[0], 0, SCHED_MAX_PRIORITY + 1));
	t = hog(0, 3);

	expect_bug(sched_start(&t->e, present));
	machine(2);
	t = hog(0, 3);
	expect_bug(sched_put(0, &t->e, SCHED_READY, SCHED_NEVER, present));
	machine(2);
	t = hog(0, 3);
	assert_ptr_equal(sched_pick(0, present), &t->e);
	expect_bug(sched_put(1, &t->e, SCHED_READY, SCHED_NEVER, present));
	machine(2);
	t = hog(0, 3);
	assert_ptr_equal(sched_pick(0, present), &t->e);
	expect_bug(sched_put(0, &t->e, SCHED_RUNNING, SCHED_NEVER, present));
	machine(2);
	t = hog(0, 3);
	assert_ptr_equal(sched_pick(0, present), &t->e);
	expect_bug((void)!sched_pick(0, present));
	machine(2);
	expect_bug((void)!sched_tick(0, present));
	machine(2);
	t = sleeper_at(0, 3, FOREVER);
	expect_bug(sched_start(&t->e, present));
	expect_bug(sched_set_priority(&t->e, SCHED_MAX_PRIORITY + 1, present));
	expect_bug(sched_group_set_weight(groups[0], DX_WEIGHT_MIN - 1));
	expect_bug(sched_group_set_weight(groups[0], DX_WEIGHT_MAX + 1));
	machine(2);
	t = hog(0, 3);
	expect_bug(sched_group_remove(groups[0]));
	machine(2);
	t = hog(0, 3);
	assert_ptr_equal(sched_pick(0, present), &t->e);
	expect_bug(sched_group_remove(groups[0]));
}

static void random_task(void)
{
	uint64_t burst = rnd(4) ? 1 + rnd(3 * SLICE) : FOREVER;
	uint64_t sleep = rnd(3) ? 1 + rnd(10 * SLICE) : FOREVER;
	struct sched_group *g = groups[rnd(ngroups)];

	if (rnd(3) == 0 && g->subtree.depth < 32)
		g = group_in(g, DX_WEIGHT_MIN + rnd(400));
	struct task *t = task_in(g, rnd(ncpus), rnd(3) ? 3 : (uint8_t)rnd(8), burst, sleep);

	if (rnd(4))
		sched_start(&t->e, present);
}

/* Starts, interrupts, stops, changes: whatever may come from elsewhere. */
static void disturb(void)
{
	struct task *t = &tasks[rnd(ntasks)];
	uint32_t c = rnd(ncpus);

	switch (rnd(8)) {
	case 0:
	case 1:
		if (t->e.state != SCHED_OFF)
			interrupt(t);
		break;
	case 2:
		if (t->e.state == SCHED_OFF) {
			t->left = t->burst;
			t->wake_at = SCHED_NEVER;
			sched_start(&t->e, present);
		}
		break;
	case 3:
		if (cpus[c].cur && rnd(8) == 0) {
			cpus[c].inside = true;
			give_up(c, SCHED_OFF, SCHED_NEVER);
			cpus[c].inside = false;
		}
		break;
	case 4:
		kick(c);
		break;
	case 5:
		if (t->left != FOREVER || rnd(4) == 0)
			t->burst = rnd(4) ? 1 + rnd(3 * SLICE) : FOREVER;
		if (t->left == FOREVER && t->e.state == SCHED_RUNNING)
			t->left = 1;
		break;
	case 6:
		sched_set_priority(&t->e, rnd(3) ? 3 : (uint8_t)rnd(8), present);
		break;
	case 7:
		sched_group_set_weight(t->in, DX_WEIGHT_MIN + rnd(400));
	}
}

static void random_machine(uint64_t with, uint32_t on, uint32_t n, unsigned disorder)
{
	seed = with;
	machine(on);
	while (ntasks < n)
		random_task();
	chaos = disorder;
	for (unsigned i = 0; i < 20000; i++) {
		if (rnd(4) == 0)
			disturb();
		tick();
	}
}

static void random_walk(void **state)
{
	for (uint32_t i = 0; i < 60; i++)
		random_machine(i, 1 + i % 8, 1 + i % 23, 0);
}

static void random_walk_of_pcpus_in_each_others_way(void **state)
{
	/* Among these are some in which a PCPU loses what it fetched to another. */
	for (uint32_t i = 400; i < 460; i++)
		random_machine(i, 2 + i % 7, 1 + i % 23, 2 + i % 5);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(alone_is_never_interrupted),
		cmocka_unit_test(equals_share),
		cmocka_unit_test(equals_share_from_one_home),
		cmocka_unit_test(equals_stay_where_they_are),
		cmocka_unit_test(late_comers_share_from_then_on),
		cmocka_unit_test(slices_are_long),
		cmocka_unit_test(an_equal_behind_a_lower_one),
		cmocka_unit_test(the_least_served_goes_on),
		cmocka_unit_test(a_kick_does_not_end_a_slice),
		cmocka_unit_test(exits_stay_few_on_many),
		cmocka_unit_test(higher_runs_alone),
		cmocka_unit_test(preemption_is_immediate),
		cmocka_unit_test(several_preempt_at_once),
		cmocka_unit_test(the_lowest_is_preempted),
		cmocka_unit_test(where_a_woken_one_goes),
		cmocka_unit_test(idle_pcpus_are_taken_first),
		cmocka_unit_test(wakes_at_once_spread_over_idle_pcpus),
		cmocka_unit_test(timers_wake_in_time),
		cmocka_unit_test(an_expired_timer_finds_the_idle_pcpu),
		cmocka_unit_test(an_expired_timer_preempts_elsewhere),
		cmocka_unit_test(sleepers_save_nothing_beside_a_silent_hog),
		cmocka_unit_test(sleepers_save_nothing_while_the_hog_waits),
		cmocka_unit_test(sleepers_save_nothing_while_all_sleep),
		cmocka_unit_test(sleepers_save_nothing_while_the_hog_is_preempted),
		cmocka_unit_test(new_ones_get_no_advance),
		cmocka_unit_test(a_crowd_of_sleepers_saves_nothing),
		cmocka_unit_test(light_tasks_are_served_soon),
		cmocka_unit_test(a_wake_while_running_is_kept),
		cmocka_unit_test(a_time_that_has_come_does_not_block),
		cmocka_unit_test(timers_of_one_time_expire_together),
		cmocka_unit_test(many_timers_expire_in_parts),
		cmocka_unit_test(a_wake_cancels_the_timer),
		cmocka_unit_test(off_stays_off),
		cmocka_unit_test(wfi_gives_way_to_a_lower_one),
		cmocka_unit_test(a_stalled_higher_one_gives_way),
		cmocka_unit_test(equals_share_what_a_higher_one_leaves),
		cmocka_unit_test(time_is_accounted),
		cmocka_unit_test(time_is_accounted_across_pcpus),
		cmocka_unit_test(clocks_read_in_the_wrong_order),
		cmocka_unit_test(a_newcomer_with_an_older_clock),
		cmocka_unit_test(subtrees_share),
		cmocka_unit_test(what_is_not_used_goes_to_the_others),
		cmocka_unit_test(levels_share_across_pcpus),
		cmocka_unit_test(many_subtrees_on_many_pcpus),
		cmocka_unit_test(weights_count),
		cmocka_unit_test(a_weight_can_change),
		cmocka_unit_test(a_subtree_that_slept_saves_nothing),
		cmocka_unit_test(a_fork_bomb_gets_its_part),
		cmocka_unit_test(strict_priorities_across_the_tree),
		cmocka_unit_test(priorities_are_shared_each_by_itself),
		cmocka_unit_test(the_root_vm_keeps_its_share),
		cmocka_unit_test(the_root_vm_keeps_its_share_against_a_crowd),
		cmocka_unit_test(a_short_wait_lifts_nobody),
		cmocka_unit_test(a_priority_can_change),
		cmocka_unit_test(a_changed_priority_is_seen_elsewhere),
		cmocka_unit_test(a_changed_priority_pays_what_it_ran),
		cmocka_unit_test(a_group_knows_its_time),
		cmocka_unit_test(wrong_calls_are_bugs),
		cmocka_unit_test(random_walk),
		cmocka_unit_test(random_walk_of_pcpus_in_each_others_way),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
