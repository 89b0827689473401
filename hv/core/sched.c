/* SPDX-License-Identifier: MIT */
/* The scheduler of sched.h. */
#include "core/sched.h"
#include "core/bug.h"

#define KEY_PRIO_SHIFT 60 /* above: how low the priority is; below: vruntime, never that large */
/* Virtual time begins high, so that what lies a little before it is not negative. */
#define CLOCK_START BIT(48)

/* How urgent something is: 0 is nothing at all, then the priorities; the Root VM's share last. */
#define RANK_NONE   0
#define RANK(prio)  ((prio) + UINT64_C(1))
#define RANK_LIFTED RANK(SCHED_MAX_PRIORITY + 1)

#define ROOT_PATIENCE 7  /* slices that the Root VM's VCPUs wait before one is lifted */
#define REKEY_MAX     16 /* queues put in order during one look for the first */
#define BALANCE_MAX   8  /* PCPUs looked at when a slice ends */
#define EXPIRE_MAX    64 /* woken in one go; the next are due at once */

struct runqueue {
	struct spinlock lock;
	struct heap ready; /* the trees with something ready */
	struct heap timers;
	struct sched_entity *running;
	uint64_t slice_end; /* SCHED_NEVER while nobody waits */
	uint64_t lift_at;   /* when one of the Root VM's that wait here is lifted */
	/* of the PCPU alone: when it compares with others again, and after which */
	uint64_t balance_at;
	uint32_t looked;
	/* written under lock, read by others without it as hints: */
	uint64_t since; /* when `running` was picked or last accounted */
	uint64_t top;   /* rank of the first that waits */
	uint64_t run; /* rank of what runs: RANK_NONE when idle, RANK_LIFTED in the Root VM's share
		       */
	uint64_t alarm; /* the PCPU wants to be kicked when this rank, or a higher one, waits */
} aligned(64);

static struct {
	uint32_t npcpus;
	uint64_t slice;
	sched_kick_fn *kick;
	const struct sched_node *root; /* the Root VM's own VCPUs */
	struct runqueue rq[SCHED_MAX_PCPUS];
} sched;

static uint64_t peek(const uint64_t *p)
{
	return __atomic_load_n(p, __ATOMIC_RELAXED);
}

static void publish(uint64_t *p, uint64_t v)
{
	__atomic_store_n(p, v, __ATOMIC_RELAXED);
}

static void raise(uint64_t *p, uint64_t to)
{
	uint64_t at = peek(p);

	while (at < to &&
		!__atomic_compare_exchange_n(p, &at, to, true, __ATOMIC_RELAXED, __ATOMIC_RELAXED))
		;
}

static unsigned key_prio(uint64_t key)
{
	return SCHED_MAX_PRIORITY - (unsigned)(key >> KEY_PRIO_SHIFT);
}

static uint64_t key_of(const struct sched_node *n, unsigned prio)
{
	return (uint64_t)(SCHED_MAX_PRIORITY - prio) << KEY_PRIO_SHIFT | peek(&n->vruntime[prio]);
}

static struct sched_entity *entity_of(struct heap_node *n)
{
	return n ? container_of(n, struct sched_entity, ready) : NULL;
}

void sched_init(uint32_t npcpus, uint64_t slice, sched_kick_fn *kick)
{
	BUG_ON(npcpus == 0 || npcpus > SCHED_MAX_PCPUS);
	sched.npcpus = npcpus;
	sched.slice = slice;
	sched.kick = kick;
	sched.root = NULL;
	for (uint32_t i = 0; i < npcpus; i++)
		sched.rq[i] = (struct runqueue){
			.slice_end = SCHED_NEVER, .lift_at = SCHED_NEVER, .looked = i};
}

/* --- groups --- */

size_t sched_group_size(void)
{
	return sizeof(struct sched_group) + 2 * sched.npcpus * sizeof(struct sched_queue);
}

static void node_init(struct sched_node *n, struct sched_node *parent, struct sched_queue *on)
{
	*n = (struct sched_node){.parent = parent, .on = on, .weight = DX_WEIGHT_DEFAULT};
	n->depth = parent ? parent->depth + 1 : 0;
	for (unsigned i = 0; i <= SCHED_MAX_PRIORITY; i++)
		n->clock[i] = CLOCK_START;
	for (uint32_t i = 0; on && i < sched.npcpus; i++)
		on[i] = (struct sched_queue){.node = n};
}

void sched_group_set_weight(struct sched_group *g, uint32_t weight)
{
	BUG_ON(weight < DX_WEIGHT_MIN || weight > DX_WEIGHT_MAX);
	__atomic_store_n(&g->subtree.weight, weight, __ATOMIC_RELAXED);
}

void sched_group_init(struct sched_group *g, struct sched_group *parent)
{
	node_init(&g->subtree, parent ? &parent->subtree : NULL, g->queues + sched.npcpus);
	node_init(&g->own, &g->subtree, g->queues);
	g->own.own = true;
	if (!parent)
		sched.root = &g->own;
}

void sched_group_remove(struct sched_group *g)
{
	for (uint32_t i = 0; i < sched.npcpus; i++) {
		spin_lock(&sched.rq[i].lock);
		spin_unlock(&sched.rq[i].lock);
	}
	for (unsigned i = 0; i <= SCHED_MAX_PRIORITY; i++)
		BUG_ON(g->subtree.active[i]);
}

void sched_entity_init(
	struct sched_entity *e, struct sched_group *g, uint32_t home, uint8_t priority)
{
	BUG_ON(home >= sched.npcpus || priority > SCHED_MAX_PRIORITY);
	*e = (struct sched_entity){.state = SCHED_OFF, .home = home, .priority = priority};
	node_init(&e->node, &g->own, NULL);
}

/* --- time --- */

/* What `ticks` of CPU time are in the vruntime of `n`. */
static uint64_t weighted(const struct sched_node *n, uint64_t ticks)
{
	uint64_t weight = __atomic_load_n(&n->weight, __ATOMIC_RELAXED);

	return (ticks * DX_WEIGHT_DEFAULT + weight - 1) / weight;
}

static void charge(struct sched_node *n, unsigned prio, uint64_t ran)
{
	uint64_t *clock = &n->parent->clock[prio], slice = weighted(n, sched.slice);
	uint64_t v = __atomic_add_fetch(&n->vruntime[prio], weighted(n, ran), __ATOMIC_RELAXED);

	raise(clock, v - slice);
	raise(&n->vruntime[prio], peek(clock) - SCHED_LAG_MAX * slice);
}

/* Charges the running entity up to `now`. The Root VM's share is not held against it. */
static void account(struct runqueue *rq, uint64_t now)
{
	struct sched_node *n = &rq->running->node;

	if (now > rq->since) {
		uint64_t ran = now - rq->since;

		for (; n; n = n->parent) {
			__atomic_fetch_add(&n->run_ticks, ran, __ATOMIC_RELAXED);
			if (n->parent && rq->run != RANK_LIFTED)
				charge(n, rq->running->priority, ran);
		}
		publish(&rq->since, now);
	}
}

/* Brings virtual time up to date, to a slice: that of PCPUs which have no slices stands still. One
 * that is locked is doing so itself. */
static void settle(uint64_t now)
{
	for (uint32_t i = 0; i < sched.npcpus; i++) {
		struct runqueue *rq = &sched.rq[i];

		if (peek(&rq->alarm) > peek(&rq->run) || peek(&rq->since) + sched.slice >= now ||
			spin_is_locked(&rq->lock))
			continue;
		spin_lock(&rq->lock);
		if (rq->running)
			account(rq, now);
		spin_unlock(&rq->lock);
	}
}

uint64_t sched_group_ticks(const struct sched_group *g, uint64_t now)
{
	settle(now);
	return peek(&g->own.run_ticks);
}

/* `e` is about to wait or run: it, and each level that had nobody before, forfeits what it did not
 * use. */
static void activate(struct sched_entity *e)
{
	unsigned prio = e->priority;

	for (struct sched_node *n = &e->node; n->parent; n = n->parent) {
		uint64_t clock = peek(&n->parent->clock[prio]);

		raise(&n->vruntime[prio], clock - weighted(n, sched.slice));
		if (__atomic_fetch_add(&n->parent->active[prio], 1, __ATOMIC_RELAXED))
			return;
	}
}

static void deactivate(struct sched_entity *e)
{
	for (struct sched_node *n = e->node.parent; n; n = n->parent)
		if (__atomic_sub_fetch(&n->active[e->priority], 1, __ATOMIC_RELAXED))
			return;
}

/* --- queues --- */

/* The rank of the first that waits anywhere. */
static uint64_t waiting(void)
{
	uint64_t most = RANK_NONE;

	for (uint32_t i = 0; i < sched.npcpus; i++)
		most = MAX(most, peek(&sched.rq[i].top));
	return most;
}

/* After a change of what waits or runs at PCPU `i`. A slice runs only while somebody of the same
 * priority waits anywhere; one that is higher gets the PCPU by a kick. */
static void refresh(uint32_t i, uint64_t now)
{
	struct runqueue *rq = &sched.rq[i];
	struct heap_node *top = heap_min(&rq->ready);
	bool root_waits = sched.root && heap_min(&sched.root->on[i].ready);

	publish(&rq->top, top ? RANK(key_prio(top->key)) : RANK_NONE);
	if (!rq->running || (rq->run != RANK_LIFTED && waiting() < rq->run))
		rq->slice_end = SCHED_NEVER;
	else if (rq->slice_end == SCHED_NEVER)
		rq->slice_end = now + sched.slice;
	if (!root_waits || (rq->running && rq->running->node.parent == sched.root))
		rq->lift_at = SCHED_NEVER;
	else if (rq->lift_at == SCHED_NEVER && rq->running)
		rq->lift_at = now + ROOT_PATIENCE * sched.slice;
}

/* Puts `n`, whose queue at PCPU `i` has changed, and what it is in where they now belong. */
static void requeue(struct sched_node *n, uint32_t i, uint64_t now)
{
	for (; n; n = n->parent) {
		struct heap *above = n->parent ? &n->parent->on[i].ready : &sched.rq[i].ready;
		struct heap_node *top = heap_min(&n->on[i].ready), *link = &n->on[i].link;

		if (top && link->queued && key_prio(top->key) == key_prio(link->key))
			break;
		heap_remove(above, link);
		if (top)
			heap_insert(above, link, key_of(n, key_prio(top->key)));
	}
	refresh(i, now);
}

static void enqueue(struct sched_entity *e, uint64_t now)
{
	struct sched_node *n = e->node.parent;

	heap_insert(&n->on[e->home].ready, &e->ready, key_of(&e->node, e->priority));
	requeue(n, e->home, now);
}

static void dequeue(struct sched_entity *e, uint64_t now)
{
	struct sched_node *n = e->node.parent;

	heap_remove(&n->on[e->home].ready, &e->ready);
	requeue(n, e->home, now);
}

/* Who goes first of all that wait at PCPU `i`: at each level what is in the least served queue.
 * What was served elsewhere since it was put there is moved back first: as many as REKEY_MAX says,
 * so the rest of a crowd may have its turn a little early. */
static struct sched_entity *first(uint32_t i)
{
	struct heap *h = &sched.rq[i].ready;
	struct heap_node *link;

	for (unsigned budget = REKEY_MAX; (link = heap_min(h));) {
		struct sched_queue *q = container_of(link, struct sched_queue, link);
		uint64_t key = key_of(q->node, key_prio(link->key));

		if (key != link->key && budget) {
			budget--;
			heap_remove(h, link);
			heap_insert(h, link, key);
		} else if (q->node->own) {
			return entity_of(heap_min(&q->ready));
		} else {
			h = &q->ready;
		}
	}
	return NULL;
}

/* Of two entities of one priority, that wait or run at PCPUs whose run queues are locked: `a` has
 * had less than `b`, by more than `slices` of its own, where their paths from the root part. */
static bool behind(const struct sched_entity *a, const struct sched_entity *b, unsigned slices)
{
	const struct sched_node *x = &a->node, *y = &b->node;
	unsigned prio = a->priority;

	while (x->parent != y->parent) {
		if (x->depth > y->depth)
			x = x->parent;
		else
			y = y->parent;
	}
	return peek(&x->vruntime[prio]) + slices * weighted(x, sched.slice) <
	       peek(&y->vruntime[prio]);
}

static struct runqueue *lock_home(const struct sched_entity *e)
{
	for (;;) {
		uint32_t home = __atomic_load_n(&e->home, __ATOMIC_RELAXED);
		struct runqueue *rq = &sched.rq[home];

		spin_lock(&rq->lock);
		/* Pairs with launch, which does not hold this lock: the state is as new. */
		if (__atomic_load_n(&e->home, __ATOMIC_ACQUIRE) == home)
			return rq;
		spin_unlock(&rq->lock);
	}
}

/* --- waking --- */

/* The rank of what runs at PCPU `i`, or will at once. */
static uint64_t busy(uint32_t i)
{
	return MAX(peek(&sched.rq[i].run), peek(&sched.rq[i].top));
}

/* The PCPU that runs the lowest rank below `rank`; `home` if that is one, or if there is none. */
static uint32_t least_busy(uint32_t home, uint64_t rank)
{
	uint32_t best = home;
	uint64_t least = MIN(busy(home), rank);

	for (uint32_t i = 0; i < sched.npcpus; i++) {
		if (busy(i) < least) {
			best = i;
			least = busy(i);
		}
	}
	return best;
}

/* Something may wait, and no PCPU is on its way to it: calls an idle PCPU to fetch it, or else all
 * that want to know. The one that comes calls the next, as long as there is something for it. The
 * fence pairs with those in sched_pick and sched_contended: either this sees what they published,
 * or they see what waits. */
static void invite(void)
{
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	uint64_t rank = waiting();
	uint32_t idle = least_busy(0, RANK_NONE + 1);

	if (rank == RANK_NONE)
		return;
	if (busy(idle) == RANK_NONE) {
		sched.kick(idle);
		return;
	}
	for (uint32_t i = 0; i < sched.npcpus; i++)
		if (peek(&sched.rq[i].alarm) <= rank)
			sched.kick(i);
}

/* Takes `e` out of OFF or BLOCKED and queues it where it fits best: home if idle, else another idle
 * PCPU, else the one that runs the lowest priority below its own, else home. `home` is its home's
 * run queue, locked, and is unlocked. Until it is queued it is READY but in no heap: a wake
 * meanwhile sees READY and leaves it alone. */
static void launch(struct runqueue *home, struct sched_entity *e, uint64_t now)
{
	uint32_t target = least_busy(e->home, RANK(e->priority));
	struct runqueue *rq = &sched.rq[target];

	heap_remove(&home->timers, &e->timer);
	activate(e);
	e->state = SCHED_READY;
	e->ready_since = now;
	__atomic_store_n(&e->home, target, __ATOMIC_RELEASE);
	spin_unlock(&home->lock);
	spin_lock(&rq->lock);
	enqueue(e, now);
	bool runs_now = rq->run < RANK(e->priority);

	spin_unlock(&rq->lock);
	if (runs_now)
		sched.kick(target);
	else
		invite();
}

void sched_wake(struct sched_entity *e, uint64_t now)
{
	settle(now);
	struct runqueue *rq = lock_home(e);

	if (e->state == SCHED_BLOCKED) {
		launch(rq, e, now);
		return;
	}
	e->wake_latched |= e->state == SCHED_RUNNING;
	spin_unlock(&rq->lock);
}

void sched_start(struct sched_entity *e, uint64_t now)
{
	settle(now);
	struct runqueue *rq = lock_home(e);

	BUG_ON(e->state != SCHED_OFF);
	launch(rq, e, now);
}

void sched_expire(uint32_t pcpu, uint64_t now)
{
	struct runqueue *rq = &sched.rq[pcpu];
	struct heap_node *n;

	settle(now);
	spin_lock(&rq->lock);
	for (unsigned i = 0; i < EXPIRE_MAX && (n = heap_min(&rq->timers)) && n->key <= now; i++) {
		launch(rq, container_of(n, struct sched_entity, timer), now);
		spin_lock(&rq->lock);
	}
	spin_unlock(&rq->lock);
}

void sched_set_priority(struct sched_entity *e, uint8_t priority, uint64_t now)
{
	BUG_ON(priority > SCHED_MAX_PRIORITY);
	struct runqueue *rq = lock_home(e);
	bool running = e->state == SCHED_RUNNING, active = running || e->state == SCHED_READY,
	     queued = e->ready.queued;

	if (running)
		account(rq, now);
	if (queued)
		dequeue(e, now);
	if (active)
		deactivate(e);
	e->priority = priority;
	if (active)
		activate(e);
	if (queued)
		enqueue(e, now);
	if (running && rq->run != RANK_LIFTED)
		publish(&rq->run, RANK(priority));
	if (active)
		sched.kick(e->home);
	spin_unlock(&rq->lock);
	invite();
}

/* --- running --- */

/* Moves the first that waits at `from` to `to`, if it should go before what runs or is first there.
 * A whole slice of difference is asked for among equals, so that entities do not bounce. */
static void fetch(uint32_t from, uint32_t to, uint64_t now)
{
	spin_lock(&sched.rq[MIN(from, to)].lock);
	spin_lock(&sched.rq[MAX(from, to)].lock);
	struct sched_entity *e = first(from), *mine = sched.rq[to].running;

	if (!mine)
		mine = first(to);
	if (e && (!mine || e->priority > mine->priority ||
			 (e->priority == mine->priority && behind(e, mine, 1)))) {
		dequeue(e, now);
		__atomic_store_n(&e->home, to, __ATOMIC_RELAXED);
		enqueue(e, now);
	}
	spin_unlock(&sched.rq[from].lock);
	spin_unlock(&sched.rq[to].lock);
}

/* Fetches the most urgent that waits elsewhere, if it is more so than what runs or waits here. With
 * `equals`, also what is as urgent and behind: then of many PCPUs only the next few are asked, and
 * none is waited for. */
static void fetch_urgent(uint32_t self, bool equals, uint64_t now)
{
	struct runqueue *rq = &sched.rq[self];
	uint64_t most = waiting();
	uint32_t start = rq->looked, asked = equals ? 0 : BALANCE_MAX;

	if (equals)
		rq->balance_at = now + sched.slice;
	for (uint32_t k = 1; most != RANK_NONE && k <= sched.npcpus; k++) {
		uint32_t i = (start + k) % sched.npcpus;
		const struct runqueue *other = &sched.rq[i];

		if (other == rq || peek(&other->top) != most || most < busy(self))
			continue;
		if (most == busy(self)) {
			if (asked == BALANCE_MAX || spin_is_locked(&other->lock))
				continue;
			asked++;
			rq->looked = i;
		}
		fetch(i, self, now);
	}
}

void sched_put(
	uint32_t pcpu, struct sched_entity *e, enum sched_state to, uint64_t wake_at, uint64_t now)
{
	struct runqueue *rq = &sched.rq[pcpu];

	spin_lock(&rq->lock);
	BUG_ON(rq->running != e || e->state != SCHED_RUNNING || to == SCHED_RUNNING);
	account(rq, now);
	rq->running = NULL;
	publish(&rq->run, RANK_NONE);
	if (to == SCHED_BLOCKED && (e->wake_latched || wake_at <= now))
		to = SCHED_READY;
	e->wake_latched = false;
	e->state = to;
	if (to == SCHED_READY) {
		e->ready_since = now;
		enqueue(e, now);
	} else {
		deactivate(e);
		refresh(pcpu, now);
	}
	if (to == SCHED_BLOCKED && wake_at != SCHED_NEVER)
		heap_insert(&rq->timers, &e->timer, wake_at);
	spin_unlock(&rq->lock);
}

static void start_running(struct runqueue *rq, struct sched_entity *e, uint64_t rank, uint64_t now)
{
	/* Another PCPU may have stamped it with a later reading of the clock than ours. */
	if (now > e->ready_since)
		e->wait_ticks += now - e->ready_since;
	e->state = SCHED_RUNNING;
	rq->running = e;
	publish(&rq->since, now);
	publish(&rq->run, rank);
	/* Until sched_contended has decided what it wants to know of. */
	publish(&rq->alarm, rank + 1);
	dequeue(e, now);
}

struct sched_entity *sched_pick(uint32_t pcpu, uint64_t now)
{
	struct runqueue *rq = &sched.rq[pcpu];

	__atomic_thread_fence(__ATOMIC_SEQ_CST); /* see invite */
	fetch_urgent(pcpu, now >= rq->balance_at, now);
	spin_lock(&rq->lock);
	BUG_ON(rq->running);
	bool lift = rq->lift_at <= now;
	struct sched_entity *e =
		lift ? entity_of(heap_min(&sched.root->on[pcpu].ready)) : first(pcpu);

	if (e)
		start_running(rq, e, lift ? RANK_LIFTED : RANK(e->priority), now);
	spin_unlock(&rq->lock);
	/* Also when another PCPU has taken what was fetched for this one. */
	invite();
	return e;
}

bool sched_tick(uint32_t pcpu, uint64_t now)
{
	struct runqueue *rq = &sched.rq[pcpu];

	sched_expire(pcpu, now);
	spin_lock(&rq->lock);
	BUG_ON(!rq->running);
	account(rq, now);
	bool over = rq->slice_end <= now;

	if (over) {
		publish(&rq->run, RANK(rq->running->priority));
		rq->slice_end = SCHED_NEVER;
	}
	spin_unlock(&rq->lock);
	fetch_urgent(pcpu, over, now);
	spin_lock(&rq->lock);
	bool yield = rq->lift_at <= now || rq->top > rq->run ||
		     (over && rq->top == rq->run && behind(first(pcpu), rq->running, 0));

	refresh(pcpu, now);
	spin_unlock(&rq->lock);
	return yield;
}

uint64_t sched_deadline(uint32_t pcpu)
{
	struct runqueue *rq = &sched.rq[pcpu];

	spin_lock(&rq->lock);
	struct heap_node *n = heap_min(&rq->timers);
	uint64_t when = MIN(rq->slice_end, rq->lift_at);

	if (n)
		when = MIN(when, n->key);
	spin_unlock(&rq->lock);
	return when;
}

bool sched_contended(uint32_t pcpu)
{
	struct runqueue *rq = &sched.rq[pcpu];

	spin_lock(&rq->lock);
	refresh(pcpu, rq->since);
	bool slice = rq->slice_end != SCHED_NEVER, contended = slice || waiting() != RANK_NONE;

	publish(&rq->alarm, slice ? rq->run + 1 : contended ? rq->run : RANK_NONE + 1);
	spin_unlock(&rq->lock);
	__atomic_thread_fence(__ATOMIC_SEQ_CST); /* see invite */
	/* Came meanwhile. */
	if (waiting() >= rq->alarm)
		sched.kick(pcpu);
	return contended;
}
