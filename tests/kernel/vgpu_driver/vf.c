// SPDX-License-Identifier: GPL-2.0-only
/*
 * A virtual function: a VFIO device like any other, with nvidia/ beside it.
 *
 * nvidia/ comes after vfio-dev/ and goes after it, as NVIDIA's own driver has
 * it; so a reader may see a function of this driver without its files.
 */
#include <linux/err.h>
#include <linux/kernel.h>
#include <linux/sysfs.h>

#include "vgpu.h"

static struct vgpu_vf *of_vfio(struct vfio_device *vdev)
{
	return container_of(vdev, struct vgpu_vf, core.vdev);
}

static int open_device(struct vfio_device *vdev)
{
	struct vgpu_vf *vf = of_vfio(vdev);
	int err;

	err = vgpu_card_open(vf);
	if (err)
		return err;
	err = vfio_pci_core_enable(&vf->core);
	if (err) {
		vgpu_card_close(vf);
		return err;
	}
	vfio_pci_core_finish_enable(&vf->core);
	return 0;
}

static void close_device(struct vfio_device *vdev)
{
	vfio_pci_core_close_device(vdev);
	vgpu_card_close(of_vfio(vdev));
}

static const struct vfio_device_ops vf_ops = {
	.name = "nvidia-vfio-pci",
	.init = vfio_pci_core_init_dev,
	.release = vfio_pci_core_release_dev,
	.open_device = open_device,
	.close_device = close_device,
	.ioctl = vfio_pci_core_ioctl,
	.device_feature = vfio_pci_core_ioctl_feature,
	.read = vfio_pci_core_read,
	.write = vfio_pci_core_write,
	.mmap = vfio_pci_core_mmap,
	.request = vfio_pci_core_request,
	.match = vfio_pci_core_match,
};

int vgpu_vf_probe(struct pci_dev *pdev, struct vgpu_card *card)
{
	struct vgpu_vf *vf;
	int err;

	vf = vfio_alloc_device(vgpu_vf, core.vdev, &pdev->dev, &vf_ops);
	if (IS_ERR(vf))
		return PTR_ERR(vf);
	vf->card = card;
	dev_set_drvdata(&pdev->dev, &vf->core);
	err = vfio_pci_core_register_device(&vf->core);
	if (err)
		goto put;
	err = sysfs_create_groups(&pdev->dev.kobj, vgpu_groups);
	if (err)
		goto unregister;
	return 0;

unregister:
	vfio_pci_core_unregister_device(&vf->core);
put:
	vfio_put_device(&vf->core.vdev);
	return err;
}

void vgpu_vf_remove(struct pci_dev *pdev)
{
	struct vgpu_vf *vf = container_of(dev_get_drvdata(&pdev->dev), struct vgpu_vf, core);

	/* Waits until nobody has the device open. */
	vfio_pci_core_unregister_device(&vf->core);
	sysfs_remove_groups(&pdev->dev.kobj, vgpu_groups);
	vgpu_card_forget(vf);
	vfio_put_device(&vf->core.vdev);
}
