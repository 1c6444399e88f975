/* Stands between the program and /dev/kvm, and breaks one thing of it: the one that KVM_FAULT names. Where there is no KVM, it
 * fakes as much of one as comes before what is broken. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <linux/kvm.h>

static int is_fault(const char *name) {
	const char *fault = getenv("KVM_FAULT");
	return fault && !strcmp(fault, name);
}

static int fail(int error) {
	errno = error;
	return -1;
}

static int real_open(const char *path, int flags, mode_t mode) {
	return syscall(SYS_openat, AT_FDCWD, path, flags, mode);
}

static int open_kvm(int flags) {
	int fd;
	if (is_fault("missing")) return fail(ENOENT);
	if (is_fault("denied")) return fail(EACCES);
	if (is_fault("busy")) return fail(EBUSY);
	if (is_fault("no-memory")) return fail(ENOMEM);
	fd = real_open("/dev/kvm", flags, 0);
	return fd >= 0 ? fd : real_open("/dev/null", flags, 0);
}

/* The C library has it by two names. */
#define OPEN(name) \
	int name(const char *path, int flags, ...) \
	{ \
		va_list list; \
		mode_t mode; \
		va_start(list, flags); \
		mode = flags & O_CREAT ? va_arg(list, mode_t) : 0; \
		va_end(list); \
		return strcmp(path, "/dev/kvm") ? real_open(path, flags, mode) : open_kvm(flags); \
	}

OPEN(open)
OPEN(open64)

/* What the program shares with the processor `fd`. */
static struct kvm_run *shared(int fd) {
	static int known = -1;
	static struct kvm_run *run;
	if (fd != known) {
		run = mmap(0, sizeof *run, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
		known = fd;
	}
	return run;
}

static int leave(int fd, unsigned reason, unsigned suberror, unsigned data) {
	struct kvm_run *run = shared(fd);
	if (run->immediate_exit) return fail(EINTR);
	run->exit_reason = reason;
	if (reason == KVM_EXIT_FAIL_ENTRY) {
		run->fail_entry.hardware_entry_failure_reason = 0x80000021;
		return 0;
	}
	run->internal.suberror = suberror;
	run->internal.ndata = data;
	memset(run->internal.data, 0xff, sizeof run->internal.data);
	return 0;
}

int ioctl(int fd, unsigned long request, ...) {
	static int runs;
	va_list list;
	long argument;
	va_start(list, request);
	argument = va_arg(list, long);
	va_end(list);
	switch (request) {
	case KVM_GET_API_VERSION:
		return is_fault("version") ? 10 : 12;
	case KVM_CHECK_EXTENSION:
		if (is_fault("capability")) return argument == KVM_CAP_IMMEDIATE_EXIT ? 0 : 1;
		break;
	case KVM_CREATE_VM:
		if (is_fault("machine")) return fail(ENOMEM);
		if (is_fault("machine-busy")) return fail(EBUSY);
		break;
	case KVM_CREATE_VCPU:
		if (is_fault("processor")) return fail(EINVAL);
		break;
	case KVM_SET_USER_MEMORY_REGION:
		if (is_fault("memory")) return fail(ENOMEM);
		break;
	case KVM_SET_CPUID2:
		if (is_fault("cpuid")) return fail(EINVAL);
		break;
	case KVM_SET_MSRS:
		if (is_fault("msr")) return 0;
		break;
	case KVM_SET_SREGS:
	case 0x4140aecd: /* KVM_SET_SREGS2 */
		if (is_fault("state")) return fail(EINVAL);
		break;
	case KVM_RUN:
		runs++;
		if (is_fault("first-run")) return fail(EIO);
		if (is_fault("later-run") && runs > 40) return fail(EFAULT);
		if (is_fault("internal-error")) return leave(fd, KVM_EXIT_INTERNAL_ERROR, KVM_INTERNAL_ERROR_UNEXPECTED_EXIT_REASON, 0);
		if (is_fault("internal-error-data")) return leave(fd, KVM_EXIT_INTERNAL_ERROR, KVM_INTERNAL_ERROR_EMULATION, 4);
		if (is_fault("later-internal-error") && runs > 40)
			return leave(fd, KVM_EXIT_INTERNAL_ERROR, KVM_INTERNAL_ERROR_DELIVERY_EV, 2);
		if (is_fault("no-entry")) return leave(fd, KVM_EXIT_FAIL_ENTRY, 0, 0);
		if (is_fault("unknown-exit")) return leave(fd, 999, 0, 0);
		break;
	}
	return syscall(SYS_ioctl, fd, request, argument);
}
