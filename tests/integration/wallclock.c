/* A wall clock that a test can set: preloaded, it moves CLOCK_REALTIME by what a file says (8 bytes, nanoseconds), and
 * nothing else. Debian's libfaketime 0.9.10 cannot leave the monotonic clock alone: clock_nanosleep with an absolute time
 * then fails with EINVAL, and with it Python's time.sleep. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>
#include <sys/syscall.h>
#include <threads.h>

static volatile int64_t none = 0;
static volatile int64_t *moved = &none;

__attribute__((constructor)) static void begin(void) {
  const char *path = getenv("WALLCLOCK_FILE");
  int file = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
  if (file < 0) return;
  void *found = mmap(NULL, sizeof(int64_t), PROT_READ, MAP_SHARED, file, 0);
  if (found != MAP_FAILED) moved = found;
  close(file);
}

static void shift(struct timespec *at, int64_t by) {
  int64_t ns = (int64_t)at->tv_sec * 1000000000 + at->tv_nsec + by;
  at->tv_sec = ns / 1000000000;
  at->tv_nsec = ns % 1000000000;
}

int clock_gettime(clockid_t clock, struct timespec *at) {
  int result = syscall(SYS_clock_gettime, clock, at);
  if (!result && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) shift(at, *moved);
  return result;
}

int gettimeofday(struct timeval *restrict at, void *restrict zone) {
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  at->tv_sec = now.tv_sec;
  at->tv_usec = now.tv_nsec / 1000;
  return 0;
}

time_t time(time_t *at) {
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  if (at) *at = now.tv_sec;
  return now.tv_sec;
}

/* The kernel waits for its own clock: a deadline by ours, which is the only kind so far from the boot, is moved back. */
static const struct timespec *real(const struct timespec *at, struct timespec *moved_back) {
  if (at->tv_sec < 1000000000) return at;
  *moved_back = *at;
  shift(moved_back, -*moved);
  return moved_back;
}

int pthread_cond_timedwait(pthread_cond_t *restrict c, pthread_mutex_t *restrict m, const struct timespec *restrict at) {
  static int (*next)(pthread_cond_t *, pthread_mutex_t *, const struct timespec *);
  struct timespec other;
  if (!next) next = dlvsym(RTLD_NEXT, "pthread_cond_timedwait", "GLIBC_2.3.2");
  if (!next) next = dlsym(RTLD_NEXT, "pthread_cond_timedwait");
  return next(c, m, real(at, &other));
}

int sem_timedwait(sem_t *restrict s, const struct timespec *restrict at) {
  static int (*next)(sem_t *, const struct timespec *);
  struct timespec other;
  if (!next) next = dlsym(RTLD_NEXT, "sem_timedwait");
  return next(s, real(at, &other));
}

int cnd_timedwait(cnd_t *restrict c, mtx_t *restrict m, const struct timespec *restrict at) {
  static int (*next)(cnd_t *, mtx_t *, const struct timespec *);
  struct timespec other;
  if (!next) next = dlsym(RTLD_NEXT, "cnd_timedwait");
  return next(c, m, real(at, &other));
}

int timespec_get(struct timespec *at, int base) {
  return base == TIME_UTC && !clock_gettime(CLOCK_REALTIME, at) ? base : 0;
}
