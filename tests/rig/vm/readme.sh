# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh
# Test the driver in README.md against the rules for drivers there.

. /tests/lib.sh

fails()
{
	! "$@"
}

# Kill a process while it uses the device: no reference to the driver may be left.
hold()
{
	readme_driver hold >/tmp/hold &
	pid=$!
	for _ in $(seq 50); do
		grep -q holding /tmp/hold && break
		sleep 0.1
	done
	grep holding /tmp/hold
}

gone()
{
	kill -9 $pid
	wait $pid
	unused my_driver
}

show()
{
	"$@" >/tmp/shown 2>&1
	status=$?
	cat /tmp/shown
	sed 's/^/# /' /tmp/shown >/dev/ttyS1
	return $status
}

holds 'readme: no driver loads before hmm_mirror' fails insmod /bin/my_driver.ko
holds 'readme: hmm_mirror loads' insmod /modules/hmm-mirror.ko
holds 'readme: the driver loads' insmod /bin/my_driver.ko
for name in maps access fork dead exec dirty exit; do
	holds "readme: $name" readme_driver $name
done
holds 'readme: storm' show readme_driver storm
holds 'readme: a process uses the device' hold
holds 'readme: the driver cannot be unloaded meanwhile' fails rmmod my_driver
holds 'readme: hmm_mirror cannot be unloaded before the driver' fails rmmod hmm_mirror
holds 'readme: no reference is left by the killed process' gone
holds 'readme: the driver unloads' rmmod my_driver
holds 'readme: hmm_mirror unloads after it' rmmod hmm_mirror
