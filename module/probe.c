// SPDX-License-Identifier: GPL-2.0-only
/*
 * Items of mode probe: a platform device each, and the drivers that bind them.
 */

#include <linux/module.h>
#include <linux/platform_device.h>

#include "shim.h"

static int probe(struct platform_device *device)
{
	void **item = dev_get_platdata(&device->dev);

	return test_deferred_probe(*item);
}

static struct platform_driver sync_driver = {
	.probe = probe,
	.driver = {
		.name = "test_deferred",
		.probe_type = PROBE_FORCE_SYNCHRONOUS,
		.suppress_bind_attrs = true,
	},
};

static struct platform_driver async_driver = {
	.probe = probe,
	.driver = {
		.name = "test_deferred_async",
		.probe_type = PROBE_PREFER_ASYNCHRONOUS,
		.suppress_bind_attrs = true,
	},
};

/**
 * test_deferred_register_drivers - register the drivers of all items
 *
 * Context: process context; may sleep.
 * Return: 0 or a negative errno.
 */
int test_deferred_register_drivers(void)
{
	int error = platform_driver_register(&sync_driver);

	if (error)
		return error;
	error = platform_driver_register(&async_driver);
	if (error)
		platform_driver_unregister(&sync_driver);
	return error;
}

/**
 * test_deferred_unregister_drivers - undo test_deferred_register_drivers()
 *
 * Context: process context; may sleep.
 */
void test_deferred_unregister_drivers(void)
{
	platform_driver_unregister(&async_driver);
	platform_driver_unregister(&sync_driver);
}

/**
 * test_deferred_alloc_device - allocate the device of an item
 * @id: the item's
 * @item: handed to test_deferred_probe(); must live until
 *        test_deferred_remove_device() has returned
 * @async_probe: which driver is to bind it
 *
 * Context: process context; may sleep.
 * Return: the device, or NULL.
 */
struct platform_device *test_deferred_alloc_device(u32 id, void *item,
						   bool async_probe)
{
	struct platform_driver *driver;
	struct platform_device *device;

	driver = async_probe ? &async_driver : &sync_driver;
	device = platform_device_alloc(driver->driver.name, id);
	if (!device)
		return NULL;
	if (platform_device_add_data(device, &item, sizeof(item))) {
		platform_device_put(device);
		return NULL;
	}
	return device;
}

/**
 * test_deferred_add_device - let the driver core probe a device
 * @device: from test_deferred_alloc_device()
 *
 * Context: process context; may sleep.
 * Return: 0 or a negative errno; a probe that fails or is deferred is no error.
 */
int test_deferred_add_device(struct platform_device *device)
{
	return platform_device_add(device);
}

/**
 * test_deferred_remove_device - unbind and free a device
 * @device: from test_deferred_alloc_device()
 * @added: whether test_deferred_add_device() has added it
 *
 * Once this returns, no probe of it is under way, and none will be.
 *
 * Context: process context; may sleep.
 */
void test_deferred_remove_device(struct platform_device *device, bool added)
{
	if (added)
		platform_device_unregister(device);
	else
		platform_device_put(device);
}
